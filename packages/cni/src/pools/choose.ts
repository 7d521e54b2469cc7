import type { Labels } from '@weft/kube';
import {
  type Family,
  formatIp,
  formatPrefix,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
} from '@weft/net';
import { type AddressRange, type RangeSet, rangeOf } from '../ipam/range.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { poolsAsked, type PodWish } from './annotations.ts';
import { blockOf, poolOf, rangesOfBlock } from './blocks.ts';
import type { IpPool } from './pool.ts';

/** What a node knows of addresses when it is asked for some: plain data, from its caches. */
export interface AddressView {
  readonly node: string;
  readonly nodeLabels: Labels | undefined;
  readonly pools: readonly IpPool[];
  /** Given to no pod that does not ask for them. */
  readonly reserved: readonly Prefix[];
  /** Pod CIDRs of all nodes. */
  readonly podCidrs: readonly { readonly node: string; readonly prefix: Prefix }[];
  /** Text of every block that exists → the node that has it; undefined: nobody. */
  readonly blocks: ReadonlyMap<string, string | undefined>;
  /** Addresses that other nodes have lent to this one. */
  readonly borrowed: readonly string[];
}

/** What a pod asks for. */
export interface AddressWish {
  readonly wish: PodWish;
  readonly pod: Readonly<Record<string, string>>;
  readonly namespace: { readonly annotations: Readonly<Record<string, string>>; readonly labels: Labels | undefined };
  /** The network's own ranges: the node's pod CIDRs. */
  readonly ranges: readonly RangeSet[];
  /** `ipam.ipv4_pools` and `ipam.ipv6_pools` of the network. */
  readonly configured: { readonly 4?: readonly string[]; readonly 6?: readonly string[] };
  /** Addresses by name that the runtime asks for, or that the pod had before. */
  readonly exact: readonly Ip[];
}

/** Where an address may come from. Without a set nothing of the pool is at this node yet. */
export interface AddressSource {
  /** Undefined: the node's pod CIDR. */
  readonly pool: IpPool | undefined;
  readonly set: RangeSet | undefined;
}

/** Where an address that is asked for by name is. */
export type Place =
  | { readonly at: 'here'; readonly set: RangeSet }
  /** In a block of a pool that no node has. */
  | { readonly at: 'nowhere'; readonly pool: IpPool; readonly block: Prefix }
  /** In a range of another node, which may lend it. */
  | { readonly at: 'elsewhere'; readonly node: string };

/** What one address of an attachment is to be. */
export type FamilyChoice =
  | { readonly family: Family; readonly sources: readonly AddressSource[] }
  | { readonly family: Family; readonly exact: Ip; readonly place: Place };

/** A range that is one address. */
export function setOfAddress(ip: Ip): RangeSet {
  const prefix = parsePrefix(`${formatIp(ip)}/${ip.bytes.length * 8}`) as Prefix;
  return { family: ip.family, ranges: rangesOfBlock(prefix) };
}

/** Blocks of a pool that this node has, and addresses of it that were lent to it. */
function setOfPool(view: AddressView, pool: IpPool): RangeSet | undefined {
  const ranges: AddressRange[] = [];
  for (const [cidr, node] of view.blocks) {
    const block = node === view.node ? parsePrefix(cidr) : undefined;
    if (block !== undefined && prefixContains(pool.prefix, block.ip))
      ranges.push(...rangesOfBlock(block, view.reserved));
  }
  for (const address of view.borrowed) {
    const ip = parseIp(address);
    if (ip !== undefined && prefixContains(pool.prefix, ip)) ranges.push(...setOfAddress(ip).ranges);
  }
  return ranges.length === 0 ? undefined : { family: pool.family, ranges };
}

/** Finds who can give an address out. Undefined when it is in no pool and in no node's pod CIDR. */
export function placeOf(view: AddressView, ranges: readonly RangeSet[], ip: Ip): Place | undefined {
  const text = formatIp(ip);
  if (view.borrowed.includes(text)) return { at: 'here', set: setOfAddress(ip) };
  const pool = poolOf(view.pools, ip);
  const cidr = view.podCidrs.find(({ prefix }) => prefixContains(prefix, ip));
  if (pool?.enabled === true) {
    const block = blockOf(pool, ip);
    const exists = view.blocks.has(formatPrefix(block));
    const owner = view.blocks.get(formatPrefix(block));
    if (owner === view.node) return { at: 'here', set: setOfAddress(ip) };
    if (owner !== undefined) return { at: 'elsewhere', node: owner };
    if (cidr !== undefined && cidr.node !== view.node) return { at: 'elsewhere', node: cidr.node };
    return exists ? undefined : { at: 'nowhere', pool, block };
  }
  const own = ranges.find((set) => rangeOf(set, ip) !== undefined);
  if (own !== undefined) return { at: 'here', set: own };
  if (cidr === undefined || cidr.node === view.node) return undefined;
  return { at: 'elsewhere', node: cidr.node };
}

function exactly(view: AddressView, ranges: readonly RangeSet[], ip: Ip): FamilyChoice {
  const place = placeOf(view, ranges, ip);
  if (place !== undefined) return { family: ip.family, exact: ip, place };
  const known = [
    ...view.pools.filter((p) => p.enabled).map((p) => `pool ${p.name} (${p.cidr})`),
    ...view.podCidrs.map((c) => `${formatPrefix(c.prefix)} of node ${c.node}`),
  ];
  throw new CniError(
    CniCode.invalidConfig,
    `requested IP address ${formatIp(ip)} is in no enabled pool and among no node's pod addresses`,
    `IPAM_OUTSIDE_POOL: addresses of pods are ${known.slice(0, 8).join(', ') || 'not known here'}`,
  );
}

function sourcesAsked(
  view: AddressView,
  family: Family,
  names: readonly string[],
  by: string,
): readonly AddressSource[] {
  return names.map((name) => {
    const cidr = parsePrefix(name);
    const wanted = cidr === undefined ? name : formatPrefix(cidr);
    const pool = view.pools.find((p) => p.name === wanted || p.cidr === wanted);
    if (pool === undefined || !pool.enabled || pool.family !== family) {
      const why = pool === undefined ? 'does not exist' : pool.enabled ? `is an IPv${pool.family} pool` : 'is disabled';
      throw new CniError(
        CniCode.invalidConfig,
        `${by}: pool "${name}" ${why}`,
        `IPAM_POOL_UNUSABLE: pools of IPv${family}: ${usableNames(view, family) || 'none'}`,
      );
    }
    return { pool, set: setOfPool(view, pool) };
  });
}

function usableNames(view: AddressView, family: Family): string {
  return view.pools
    .filter((p) => p.enabled && p.family === family)
    .map((p) => p.name)
    .join(', ');
}

/** Sources for a pod that names no pool. */
function sourcesOpen(view: AddressView, asked: AddressWish, family: Family): readonly AddressSource[] {
  const pools = view.pools.filter(
    (p) =>
      p.family === family &&
      p.enabled &&
      p.automatic &&
      p.selectsNode(view.nodeLabels) &&
      p.selectsNamespace(asked.namespace.labels),
  );
  const source = (pool: IpPool): AddressSource => ({ pool, set: setOfPool(view, pool) });
  // A pool that covers the pod CIDR rules over its addresses, and whether any are given out.
  const ranges = asked.ranges.filter(
    (set) => set.family === family && !set.ranges.some((range) => poolOf(view.pools, range.prefix.ip) !== undefined),
  );
  return [
    ...pools.filter((p) => p.forSome).map(source),
    ...ranges.map((set): AddressSource => ({ pool: undefined, set })),
    ...pools.filter((p) => !p.forSome).map(source),
  ];
}

/**
 * Says where the addresses of a pod come from (pure). A pod gets one address per family: of the families of the node's
 * pod CIDRs and of pools that are asked for; with neither, of those for which there is a pool. Of the sources of a
 * family the first with a free address serves:
 *
 * 1. pools that were made for some namespaces, of which the pod's is one
 * 2. the node's pod CIDR, unless a pool covers it
 * 3. pools for all
 *
 * A pod (or its namespace) that names pools gets addresses of those, whatever their selectors say. Throws CniError when
 * what is asked for cannot be.
 */
export function chooseAddresses(view: AddressView, asked: AddressWish): readonly FamilyChoice[] {
  const { wish } = asked;
  // As in Calico, a pod that names addresses has these and no others.
  if (wish.ipAddrs.length > 0) return wish.ipAddrs.map((ip) => exactly(view, asked.ranges, ip));
  const named = new Map(
    ([4, 6] as const).flatMap((family) => {
      const pools = poolsAsked(family, asked.pod, asked.namespace.annotations, asked.configured[family]);
      return pools === undefined ? [] : [[family, pools] as const];
    }),
  );
  const wanted = new Set<Family>([...asked.ranges.map((set) => set.family), ...named.keys()]);
  const families = ([4, 6] as const).filter((family) =>
    wanted.size > 0 ? wanted.has(family) : sourcesOpen(view, asked, family).length > 0,
  );
  if (families.length === 0) {
    throw new CniError(
      CniCode.tryAgainLater,
      `node ${view.node} has no pod CIDR, and no enabled pool selects the node and the pod's namespace`,
      'IPAM_NO_POOL: create an IPPool, or widen the nodeSelector or namespaceSelector of one',
    );
  }
  return families.map((family): FamilyChoice => {
    const exact = asked.exact.find((ip) => ip.family === family);
    if (exact !== undefined) return exactly(view, asked.ranges, exact);
    const pools = named.get(family);
    const sources =
      pools === undefined ? sourcesOpen(view, asked, family) : sourcesAsked(view, family, pools.names, pools.by);
    if (sources.length > 0) return { family, sources };
    throw new CniError(
      CniCode.tryAgainLater,
      `no enabled pool gives IPv${family} addresses to this node and the pod's namespace, and pools cover the node's pod CIDR`,
      'IPAM_NO_POOL: enable a pool, or widen its nodeSelector or namespaceSelector',
    );
  });
}
