import { formatPrefix, indexIn, parsePrefix, type Prefix, prefixesOverlap, subnetAt, subnetCount } from '@weft/net';
import { WeftError } from '@weft/plan';

/** Blocks of one size in one cluster CIDR, each in use or free. */
export class CidrPool {
  readonly cluster: Prefix;
  readonly #size: number;
  readonly #count: number;
  readonly #used = new Set<number>();
  /** Where to look next: a block that was freed is not handed out again at once, its last traces may linger. */
  #next = 0;

  /** Throws WeftError when the CIDR does not parse or has no room for one block. */
  constructor(clusterCidr: string, maskSize: number) {
    const cluster = parsePrefix(clusterCidr);
    if (cluster === undefined) {
      throw new WeftError({ code: 'CLUSTER_CIDR_INVALID', message: `the cluster CIDR "${clusterCidr}" is not a CIDR` });
    }
    const bits = cluster.ip.family === 4 ? 32 : 128;
    const count = maskSize > bits ? 0n : subnetCount(cluster, maskSize);
    // More blocks than this are more nodes than Kubernetes can have (kube-controller-manager refuses them as well).
    if (count === 0n || count > 65_536n) {
      throw new WeftError({
        code: 'NODE_CIDR_MASK_INVALID',
        message: `node blocks of /${maskSize} do not fit the cluster CIDR ${clusterCidr}`,
        hint: `the node mask size must be between ${cluster.length} and ${Math.min(bits, cluster.length + 16)}`,
      });
    }
    this.cluster = cluster;
    this.#size = maskSize;
    this.#count = Number(count);
  }

  /** Marks all blocks that the CIDR touches. False when it lies outside the cluster CIDR. */
  occupy(cidr: string): boolean {
    const range = this.#range(cidr);
    if (range === undefined) return false;
    for (let i = range.first; i <= range.last; i++) this.#used.add(i);
    return true;
  }

  release(cidr: string): void {
    const range = this.#range(cidr);
    if (range === undefined) return;
    for (let i = range.first; i <= range.last; i++) this.#used.delete(i);
  }

  /** A free block, marked as used; undefined when there is none. */
  allocate(): string | undefined {
    if (this.#used.size >= this.#count) return undefined;
    for (let tried = 0; tried < this.#count; tried++) {
      const at = (this.#next + tried) % this.#count;
      if (this.#used.has(at)) continue;
      this.#used.add(at);
      this.#next = at + 1;
      return formatPrefix(subnetAt(this.cluster, this.#size, at));
    }
    return undefined;
  }

  get free(): number {
    return this.#count - this.#used.size;
  }

  #range(cidr: string): { first: number; last: number } | undefined {
    const prefix = parsePrefix(cidr);
    if (prefix === undefined || !prefixesOverlap(this.cluster, prefix)) return undefined;
    if (prefix.length <= this.cluster.length) return { first: 0, last: this.#count - 1 };
    const bits = this.cluster.ip.family === 4 ? 32 : 128;
    const first = Number(indexIn(this.cluster, prefix.ip) >> BigInt(bits - this.#size));
    const blocks = prefix.length >= this.#size ? 1 : 2 ** (this.#size - prefix.length);
    return { first, last: first + blocks - 1 };
  }
}
