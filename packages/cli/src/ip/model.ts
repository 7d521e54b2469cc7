import { blockName, type IpPool, poolOf, type PoolProblem, rangeOfSubnet, rangeSetSize, readPools } from '@weft/cni';
import type { AddressLoan, IPAMBlock, IPPool, IPReservation, Node, Pod, Service, StickyAddress } from '@weft/kube';
import {
  addressAt,
  compareIp,
  formatIp,
  type Ip,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixSize,
  subnetCount,
} from '@weft/net';

/** The objects that say who has which address. */
export interface AddressWorld {
  readonly nodes: readonly Node[];
  readonly pods: readonly Pod[];
  readonly services: readonly Service[];
  readonly pools: readonly IPPool[];
  readonly reservations: readonly IPReservation[];
  readonly blocks: readonly IPAMBlock[];
  readonly loans: readonly AddressLoan[];
  readonly sticky: readonly StickyAddress[];
}

/** One address that somebody has, or that is kept. */
export interface AddressRow {
  readonly address: string;
  /** `namespace/name`; absent: nobody's pod. */
  readonly pod?: string;
  readonly node?: string;
  /** `pool NAME` or `pod CIDR of NODE`. */
  readonly source: string;
  readonly note: string;
}

/** How full a pool or a node's pod CIDR is. Counts are numbers of addresses; totals may exceed 2^53 and are texts. */
export interface PoolRow {
  readonly name: string;
  readonly cidr: string;
  readonly use: string;
  readonly natOutgoing?: boolean;
  readonly blocks?: string;
  readonly used: number;
  readonly total: string;
  /** Per cent, rounded up: 0 only when nothing is used. */
  readonly percent: number;
}

export interface BlockRow {
  readonly block: string;
  readonly pool: string;
  readonly node: string;
  readonly used: number;
  readonly free: number;
  readonly total: number;
}

function percentOf(used: number, total: bigint): number {
  return total === 0n ? 0 : Math.ceil((used * 100) / Number(total));
}

function cidrsOf(node: Node): readonly string[] {
  return node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
}

/** Every pod address by its text. */
function podsByAddress(pods: readonly Pod[]): ReadonlyMap<string, Pod> {
  const found = new Map<string, Pod>();
  for (const pod of pods) {
    if (pod.spec.hostNetwork === true || ['Succeeded', 'Failed'].includes(pod.status?.phase ?? '')) continue;
    for (const { ip } of pod.status?.podIPs ?? []) {
      const parsed = parseIp(ip);
      if (parsed !== undefined) found.set(formatIp(parsed), pod);
    }
  }
  return found;
}

const keyOf = (object: { metadata: { namespace?: string; name: string } }): string =>
  `${object.metadata.namespace ?? ''}/${object.metadata.name}`;

/** Says of a cluster's addresses what `weft ip` shows (pure). */
export class AddressModel {
  readonly #world: AddressWorld;
  readonly #pools: readonly IpPool[];
  readonly #problems: readonly PoolProblem[];
  readonly #pods: ReadonlyMap<string, Pod>;
  readonly #cidrs: readonly { readonly node: string; readonly cidr: string; readonly prefix: Prefix }[];

  constructor(world: AddressWorld) {
    this.#world = world;
    const { pools, problems } = readPools(world.pools);
    this.#pools = pools;
    this.#problems = problems;
    this.#pods = podsByAddress(world.pods);
    this.#cidrs = world.nodes.flatMap((node) =>
      cidrsOf(node).flatMap((cidr) => {
        const prefix = parsePrefix(cidr);
        return prefix === undefined ? [] : [{ node: node.metadata.name, cidr, prefix }];
      }),
    );
  }

  pools(): readonly PoolRow[] {
    const rows = this.addresses();
    const pools = this.#pools.map((pool): PoolRow => {
      const used = rows.filter((row) => row.source === `pool ${pool.name}`).length;
      const blocks = this.#world.blocks.filter((b) => within(pool.prefix, b.spec.cidr)).length;
      const total = prefixSize(pool.prefix);
      return {
        name: pool.name,
        cidr: pool.cidr,
        use: pool.enabled ? (pool.automatic ? 'automatic' : 'by annotation') : 'disabled',
        natOutgoing: pool.natOutgoing,
        blocks: `${blocks}/${subnetCount(pool.prefix, pool.blockSize)} of /${pool.blockSize}`,
        used,
        total: String(total),
        percent: percentOf(used, total),
      };
    });
    const cidrs = this.#cidrs.map(({ node, cidr, prefix }): PoolRow => {
      const used = rows.filter((row) => row.source === `pod CIDR of ${node}` && within(prefix, row.address)).length;
      const covered = poolOf(this.#pools, prefix.ip);
      const total = usableOf(cidr);
      const use = covered === undefined ? 'pod CIDR' : `pod CIDR, ruled by pool ${covered.name}`;
      return { name: node, cidr, use, used, total: String(total), percent: percentOf(used, total) };
    });
    const broken = this.#problems.map(({ pool, message }): PoolRow => {
      const cidr = this.#world.pools.find((p) => p.metadata.name === pool)?.spec.cidr ?? '';
      return { name: pool, cidr, use: `invalid: ${message}`, used: 0, total: '0', percent: 0 };
    });
    return [...cidrs, ...pools, ...broken];
  }

  blocks(): readonly BlockRow[] {
    return this.#world.blocks
      .map((block): BlockRow => {
        const { cidr, affinity, allocations, unallocated } = block.spec;
        const prefix = parsePrefix(cidr);
        const pool = prefix === undefined ? undefined : poolOf(this.#pools, prefix.ip);
        return {
          block: cidr,
          pool: pool?.name ?? '<none>',
          node: affinity?.replace(/^host:/, '') ?? '<none>',
          used: allocations.length - unallocated.length,
          free: unallocated.length,
          total: allocations.length,
        };
      })
      .sort((a, b) => byText(a.block.split('/')[0] as string, b.block.split('/')[0] as string));
  }

  /** Every address that is somebody's, in order. */
  addresses(): readonly AddressRow[] {
    const rows = new Map<string, AddressRow>();
    for (const [address, pod] of this.#pods) {
      const row = { address, pod: keyOf(pod), source: this.#sourceOf(address), note: this.#noteOf(address, pod) };
      rows.set(address, pod.spec.nodeName === undefined ? row : { ...row, node: pod.spec.nodeName });
    }
    for (const { address, secondary, handle } of this.#allocated()) {
      if (rows.has(address)) continue;
      const pod = secondary['pod'] === undefined ? undefined : `${secondary['namespace'] ?? ''}/${secondary['pod']}`;
      const note =
        secondary['note'] ?? (pod === undefined ? handle : 'allocated; the pod does not report it (yet or any more)');
      const node = secondary['node'];
      rows.set(address, {
        address,
        ...(pod === undefined ? {} : { pod }),
        ...(node === undefined ? {} : { node }),
        source: this.#sourceOf(address),
        note,
      });
    }
    for (const { metadata, spec } of this.#world.sticky) {
      for (const address of spec.addresses) {
        if (rows.has(address)) continue;
        rows.set(address, { address, source: this.#sourceOf(address), note: `kept for pod ${keyOf({ metadata })}` });
      }
    }
    for (const { spec, status } of this.#world.loans) {
      if (rows.has(spec.address)) continue;
      const note =
        status?.phase === 'Granted'
          ? `lent by node ${status.lender}`
          : `asked for (${status?.phase ?? 'no answer yet'})`;
      rows.set(spec.address, { address: spec.address, node: spec.node, source: this.#sourceOf(spec.address), note });
    }
    return [...rows.values()].sort((a, b) => byText(a.address, b.address));
  }

  /** What an address is, in words, most telling first. */
  who(ip: Ip): { readonly row: AddressRow | undefined; readonly facts: readonly string[] } {
    const address = formatIp(ip);
    const row = this.addresses().find((r) => r.address === address);
    const facts: string[] = [];
    if (row?.pod !== undefined) facts.push(`pod ${row.pod}${row.node === undefined ? '' : ` on node ${row.node}`}`);
    if (row !== undefined && row.note !== '') facts.push(row.note);
    for (const node of this.#world.nodes) {
      const found = node.status?.addresses?.find((a) => parseIp(a.address) !== undefined && same(a.address, ip));
      if (found !== undefined) facts.push(`${found.type} of node ${node.metadata.name}`);
    }
    for (const service of this.#world.services) {
      const ips = service.spec?.clusterIPs ?? [];
      if (ips.some((text) => same(text, ip))) facts.push(`clusterIP of Service ${keyOf(service)}`);
    }
    const pool = poolOf(this.#pools, ip);
    const block = this.#world.blocks.find((b) => within(parsePrefix(b.spec.cidr), address));
    if (block !== undefined) {
      const node = block.spec.affinity?.replace(/^host:/, '');
      facts.push(`in block ${block.spec.cidr}${node === undefined ? ', which no node has' : ` of node ${node}`}`);
    }
    const cidr = this.#cidrs.find((c) => prefixContains(c.prefix, ip));
    if (cidr !== undefined) facts.push(`in pod CIDR ${cidr.cidr} of node ${cidr.node}`);
    if (pool !== undefined)
      facts.push(`in pool ${pool.name} (${pool.cidr})${pool.enabled ? '' : ', which is disabled'}`);
    const reserved = this.#world.reservations.find((r) =>
      (r.spec.reservedCIDRs ?? []).some((c) => within(cidrOf(c), address)),
    );
    if (reserved !== undefined) facts.push(`reserved by IPReservation ${reserved.metadata.name}`);
    return { row, facts };
  }

  #sourceOf(address: string): string {
    const ip = parseIp(address);
    if (ip === undefined) return '';
    const pool = poolOf(this.#pools, ip);
    if (pool !== undefined) return `pool ${pool.name}`;
    const cidr = this.#cidrs.find((c) => prefixContains(c.prefix, ip));
    return cidr === undefined ? 'no pool' : `pod CIDR of ${cidr.node}`;
  }

  #noteOf(address: string, pod: Pod): string {
    const loan = this.#world.loans.find((l) => l.metadata.name === blockName(address));
    const notes = [
      ...(loan?.status?.phase === 'Granted' ? [`lent by node ${loan.status.lender}`] : []),
      ...(this.#world.sticky.some((s) => keyOf(s) === keyOf(pod) && s.spec.addresses.includes(address))
        ? ['sticky']
        : []),
    ];
    return notes.join(', ');
  }

  *#allocated(): Generator<{ address: string; secondary: Readonly<Record<string, string>>; handle: string }> {
    for (const { spec } of this.#world.blocks) {
      const block = parsePrefix(spec.cidr);
      if (block === undefined) continue;
      for (const [at, index] of spec.allocations.entries()) {
        if (index === null || BigInt(at) >= prefixSize(block)) continue;
        const { handle_id = '', secondary = {} } = spec.attributes[index] ?? {};
        yield { address: formatIp(addressAt(block, at)), secondary, handle: handle_id };
      }
    }
  }
}

function cidrOf(text: string): Prefix | undefined {
  return parsePrefix(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`);
}

/** Addresses of a pod CIDR that pods can get; 0 when it is too small for any. */
function usableOf(cidr: string): bigint {
  try {
    const range = rangeOfSubnet(cidr);
    return rangeSetSize({ family: range.prefix.ip.family, ranges: [range] });
  } catch {
    return 0n;
  }
}

function within(prefix: Prefix | undefined, text: string): boolean {
  const ip = parseIp(text.split('/')[0] as string);
  return prefix !== undefined && ip !== undefined && prefixContains(prefix, ip);
}

function same(text: string, ip: Ip): boolean {
  const other = parseIp(text);
  return other !== undefined && compareIp(other, ip) === 0;
}

function byText(a: string, b: string): number {
  const [x, y] = [parseIp(a), parseIp(b)];
  return x === undefined || y === undefined ? 0 : compareIp(x, y);
}
