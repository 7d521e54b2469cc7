import type { Family } from '@weft/net';
import { CidrPool } from './pool.ts';

/** What a node's blocks are cut from; see NodeIpamOptions. */
export interface ClusterRangesOptions {
  readonly clusterCidrs: readonly string[];
  readonly serviceCidrs?: readonly string[];
  readonly nodeCidrMaskSize: number;
  readonly nodeCidrMaskSizeIpv6?: number;
}

/** The cluster CIDRs by family: every node gets one block per family. */
export class ClusterRanges {
  /** In the order in which families first appear: the first is the primary one. */
  readonly #families = new Map<Family, CidrPool[]>();
  readonly #serviceCidrs: readonly string[];

  /** Throws WeftError when a CIDR does not parse, has no room for one block, or overlaps another. */
  constructor(options: ClusterRangesOptions) {
    this.#serviceCidrs = options.serviceCidrs ?? [];
    for (const cidr of options.clusterCidrs) {
      const size = cidr.includes(':') ? (options.nodeCidrMaskSizeIpv6 ?? 64) : options.nodeCidrMaskSize;
      const pool = new CidrPool(cidr, size);
      const { family } = pool.cluster.ip;
      this.#families.set(family, [...(this.#families.get(family) ?? []), pool]);
    }
    this.#keepServicesFree();
  }

  /** Marks all blocks that the CIDR touches. False when it lies outside of all cluster CIDRs. */
  occupy(cidr: string): boolean {
    let inside = false;
    for (const pool of this.#pools()) inside = pool.occupy(cidr) || inside;
    return inside;
  }

  release(cidr: string): void {
    for (const pool of this.#pools()) pool.release(cidr);
    this.#keepServicesFree();
  }

  /** One block per family, or undefined when a family has none left; then nothing is taken. */
  allocate(): string[] | undefined {
    const cidrs: string[] = [];
    for (const pools of this.#families.values()) {
      const cidr = firstFree(pools);
      if (cidr === undefined) {
        for (const taken of cidrs) this.release(taken);
        return undefined;
      }
      cidrs.push(cidr);
    }
    return cidrs;
  }

  *#pools(): Generator<CidrPool> {
    for (const pools of this.#families.values()) yield* pools;
  }

  #keepServicesFree(): void {
    for (const cidr of this.#serviceCidrs) this.occupy(cidr);
  }
}

/** A block of the first pool that has one; ranges that overlap never give the same addresses twice. */
function firstFree(pools: readonly CidrPool[]): string | undefined {
  for (const pool of pools) {
    const cidr = pool.allocate();
    if (cidr === undefined) continue;
    for (const other of pools) if (other !== pool) other.occupy(cidr);
    return cidr;
  }
  return undefined;
}
