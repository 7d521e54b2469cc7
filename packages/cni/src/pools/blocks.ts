import { createHash } from 'node:crypto';
import {
  formatPrefix,
  type Ip,
  indexIn,
  lastAddress,
  parseIp,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  prefixOf,
  prefixSize,
  subnetAt,
  subnetCount,
} from '@weft/net';
import type { AddressRange } from '../ipam/range.ts';
import type { IpPool } from './pool.ts';

/** Most blocks that are looked at for a free one. */
const TRIES = 65_536n;
/** Gateways of no subnet: every address of a block can be given out. */
const NO_GATEWAY = { 4: parseIp('169.254.1.1') as Ip, 6: parseIp('fe80::1') as Ip } as const;

/** The block of a pool that an address is in. */
export function blockOf(pool: IpPool, ip: Ip): Prefix {
  return prefixOf(ip, pool.blockSize);
}

/** Name of the API object of a block, `10-244-3-0-26`: a second one cannot be made. */
export function blockName(block: Prefix | string): string {
  return (typeof block === 'string' ? block : formatPrefix(block)).replace(/[.:/]/g, '-');
}

/** The addresses of a block that may be given out, without what is reserved, as runs in order. */
export function rangesOfBlock(block: Prefix, reserved: readonly Prefix[] = []): readonly AddressRange[] {
  const size = prefixSize(block);
  const holes = reserved
    .filter((r) => prefixesOverlap(r, block))
    .map((r) => (r.length <= block.length ? [0n, size - 1n] : [indexIn(block, r.ip), indexIn(block, lastAddress(r))]))
    .sort((a, b) => Number((a[0] as bigint) - (b[0] as bigint)));
  const subnet = formatPrefix(block);
  const ranges: AddressRange[] = [];
  let first = 0n;
  const upTo = (last: bigint): void => {
    if (last >= first) ranges.push({ prefix: block, subnet, first, last, gateway: NO_GATEWAY[block.ip.family] });
  };
  for (const [from, to] of holes as [bigint, bigint][]) {
    upTo(from - 1n);
    if (to + 1n > first) first = to + 1n;
  }
  upTo(size - 1n);
  return ranges;
}

/** What is to be known for choosing a block. */
export interface BlockChoice {
  /** Texts of the blocks that exist already, whosever they are. */
  readonly taken: ReadonlySet<string>;
  /** Pod CIDRs of other nodes: addresses in them are theirs. */
  readonly foreign: readonly Prefix[];
  /** Pod CIDRs of this node: blocks in them come first, so that routes stay as they are. */
  readonly own: readonly Prefix[];
  readonly reserved: readonly Prefix[];
}

/**
 * A block of the pool that nobody has, for a node to claim; undefined when there is none. Nodes begin at different
 * places, so that they seldom want the same one at once.
 */
export function freeBlock(pool: IpPool, node: string, choice: BlockChoice): Prefix | undefined {
  const usable = (block: Prefix): boolean =>
    !choice.taken.has(formatPrefix(block)) &&
    !choice.foreign.some((cidr) => prefixesOverlap(cidr, block)) &&
    rangesOfBlock(block, choice.reserved).length > 0;
  for (const cidr of choice.own) {
    if (cidr.length > pool.blockSize || !prefixesOverlap(cidr, pool.prefix)) continue;
    const inner = cidr.length >= pool.prefix.length ? cidr : pool.prefix;
    const found = search(inner, pool.blockSize, 0n, usable);
    if (found !== undefined) return found;
  }
  const count = subnetCount(pool.prefix, pool.blockSize);
  const start = BigInt(`0x${createHash('sha256').update(node).digest('hex').slice(0, 16)}`) % count;
  return search(pool.prefix, pool.blockSize, start, usable);
}

function search(within: Prefix, size: number, start: bigint, usable: (block: Prefix) => boolean): Prefix | undefined {
  const count = subnetCount(within, size);
  const tries = count < TRIES ? count : TRIES;
  for (let i = 0n; i < tries; i++) {
    const block = subnetAt(within, size, (start + i) % count);
    if (usable(block)) return block;
  }
  return undefined;
}

/** The pool that an address is in. */
export function poolOf(pools: readonly IpPool[], ip: Ip): IpPool | undefined {
  return pools.find((pool) => prefixContains(pool.prefix, ip));
}
