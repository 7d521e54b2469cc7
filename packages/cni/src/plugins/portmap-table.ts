import { type Element, expr, type Expr, Nft, NftBatch, type NetNs, type SetSpec, values } from '@weft/kernel';
import type { PortProtocol } from './ports.ts';

/** One translation: packets to a port of the node (of one of its addresses, or of all) go to a port of a pod. */
export interface PortEntry {
  readonly family: 4 | 6;
  readonly hostIp: string | undefined;
  readonly protocol: PortProtocol;
  readonly hostPort: number;
  readonly podIp: string;
  readonly containerPort: number;
}

/** What one pod adds to the table. */
export interface PodPorts {
  readonly entries: readonly PortEntry[];
}

const TABLE = { family: 'inet', name: 'weft-portmap' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;

const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const FAMILIES = [4, 6] as const;

function maps(family: 4 | 6): { readonly any: SetSpec; readonly bound: SetSpec; readonly hairpin: SetSpec } {
  const address = ADDRESS[family];
  const to = [address, 'inet_service'] as const;
  return {
    any: {
      ...in_,
      name: `any${family}`,
      key: ['inet_proto', 'inet_service'],
      data: to,
      comment: 'hostPort on every address',
    },
    bound: {
      ...in_,
      name: `bound${family}`,
      key: [address, 'inet_proto', 'inet_service'],
      data: to,
      comment: 'hostPort with hostIP',
    },
    hairpin: {
      ...in_,
      name: `hairpin${family}`,
      key: [address, address],
      comment: 'a pod that reaches itself by its hostPort',
    },
  };
}

const MAPS = { 4: maps(4), 6: maps(6) } as const;

function ip(family: 4 | 6, text: string): Uint8Array {
  return family === 4 ? values.ip4(text) : values.ip6(text);
}

function elements(entry: PortEntry): { readonly set: SetSpec; readonly element: Element }[] {
  const { family, protocol, hostPort } = entry;
  const port = [values.proto(protocol), values.u16be(hostPort)] as const;
  const bound = entry.hostIp !== undefined;
  const key = bound ? values.fields(ip(family, entry.hostIp as string), ...port) : values.fields(...port);
  const data = values.fields(ip(family, entry.podIp), values.u16be(entry.containerPort));
  return [{ set: bound ? MAPS[family].bound : MAPS[family].any, element: { key, data } }];
}

function hairpin(family: 4 | 6, podIp: string): { readonly set: SetSpec; readonly element: Element } {
  const address = ip(family, podIp);
  return { set: MAPS[family].hairpin, element: { key: values.fields(address, address) } };
}

function allElements(pod: PodPorts): { readonly set: SetSpec; readonly element: Element }[] {
  const pods = new Map(pod.entries.map((entry) => [entry.podIp, entry.family]));
  return [...pod.entries.flatMap(elements), ...[...pods].map(([podIp, family]) => hairpin(family, podIp))];
}

const r = expr.reg32;

/** Loads `address . protocol . port` (or without the address) for a look-up, and translates to what the map says. */
function translate(family: 4 | 6, bound: boolean): Expr[] {
  const header = family === 4 ? expr.header.ip.daddr : expr.header.ip6.daddr;
  const width = family === 4 ? 1 : 4;
  const at = bound ? width : 0;
  const set = bound ? MAPS[family].bound : MAPS[family].any;
  return [
    expr.meta('nfproto', r(8)),
    expr.cmp('eq', r(8), values.u8(family === 4 ? 2 : 10)),
    ...(bound ? [expr.payload(header, family === 4 ? r(0) : expr.reg(1))] : []),
    expr.meta('l4proto', r(at)),
    expr.payload(expr.header.th.dport, r(at + 1)),
    expr.lookup({ set: set.name, sreg: r(0), dreg: r(8) }),
    expr.nat({ kind: 'dnat', family: family === 4 ? 'ip' : 'ip6', addrReg: r(8), portReg: r(8 + width) }),
  ];
}

function toLocal(): Expr[] {
  return [
    expr.fib({ result: 'type', flags: ['daddr'], dreg: r(0) }),
    expr.cmp('eq', r(0), values.u32ne(values.RTN.local)),
    expr.verdict({ jump: 'hostports' }),
  ];
}

function putStructure(b: NftBatch): void {
  b.addTable({ ...TABLE, comment: 'hostPorts of pods' });
  for (const family of FAMILIES) for (const set of Object.values(MAPS[family])) b.addSet(set);
  const { dstnat, srcnat } = values.PRIORITY;
  b.addChain({ ...in_, name: 'hostports' });
  // Before kube-proxy and its kin, so that a hostPort wins over a NodePort, as in the reference plugin.
  b.addChain({ ...in_, name: 'prerouting', hook: { hook: 'prerouting', type: 'nat', priority: dstnat - 1 } });
  b.addChain({ ...in_, name: 'output', hook: { hook: 'output', type: 'nat', priority: dstnat - 1 } });
  b.addChain({ ...in_, name: 'postrouting', hook: { hook: 'postrouting', type: 'nat', priority: srcnat - 1 } });
  b.addChain({ ...in_, name: 'guard', hook: { hook: 'prerouting', type: 'filter', priority: dstnat - 2 } });
  for (const family of FAMILIES) {
    b.addRule({ ...in_, chain: 'hostports', exprs: translate(family, true) });
    b.addRule({ ...in_, chain: 'hostports', exprs: translate(family, false) });
  }
  b.addRule({ ...in_, chain: 'prerouting', exprs: toLocal() });
  b.addRule({ ...in_, chain: 'output', exprs: toLocal() });
  putPostrouting(b);
}

function putPostrouting(b: NftBatch): void {
  const masquerade = expr.masquerade({ flags: ['fully-random'] });
  for (const family of FAMILIES) {
    const h = family === 4 ? expr.header.ip : expr.header.ip6;
    const width = family === 4 ? 1 : 4;
    const exprs = [
      expr.meta('nfproto', r(8)),
      expr.cmp('eq', r(8), values.u8(family === 4 ? 2 : 10)),
      expr.payload(h.saddr, family === 4 ? r(0) : expr.reg(1)),
      expr.payload(h.daddr, family === 4 ? r(width) : expr.reg(2)),
      expr.lookup({ set: MAPS[family].hairpin.name, sreg: r(0) }),
      masquerade,
    ];
    b.addRule({ ...in_, chain: 'postrouting', exprs, comment: 'a pod that reaches itself' });
  }
  const loopback = (field: typeof expr.header.ip.saddr | typeof expr.header.ip.daddr): Expr[] => [
    expr.meta('nfproto', r(8)),
    expr.cmp('eq', r(8), values.u8(2)),
    expr.payload(field, r(0)),
    expr.bitwise({ sreg: r(0), dreg: r(0), mask: Uint8Array.of(255, 0, 0, 0) }),
    expr.cmp('eq', r(0), Uint8Array.of(127, 0, 0, 0)),
  ];
  const translated = [
    expr.ct('status', r(1)),
    expr.bitwise({ sreg: r(1), dreg: r(1), mask: values.u32ne(values.CT_STATUS.dnat) }),
    expr.cmp('neq', r(1), values.u32ne(0)),
  ];
  b.addRule({
    ...in_,
    chain: 'postrouting',
    exprs: [...loopback(expr.header.ip.saddr), ...translated, masquerade],
    comment: 'the node that uses 127.0.0.1',
  });
  // route_localnet lets answers back in; nothing else may come to 127.0.0.0/8 from a pod (as in CVE-2020-8558).
  b.addRule({
    ...in_,
    chain: 'guard',
    exprs: [
      expr.meta('iif', r(9)),
      expr.cmp('neq', r(9), values.u32ne(1)),
      ...loopback(expr.header.ip.daddr),
      expr.ct('state', r(1)),
      expr.bitwise({
        sreg: r(1),
        dreg: r(1),
        mask: values.u32ne(values.CT_STATE.established | values.CT_STATE.related),
      }),
      expr.cmp('eq', r(1), values.u32ne(0)),
      expr.verdict('drop'),
    ],
  });
}

/** The nftables table of hostPorts: two maps per family, whatever the number of pods. Changes are made one at a time. */
export class PortmapTable {
  readonly #nft: Nft;
  #present = false;
  #tail: Promise<void> = Promise.resolve();
  #leaving: PodPorts[] = [];
  #departure: Promise<void> | undefined;

  constructor(ns?: NetNs) {
    this.#nft = Nft.open(ns);
  }

  /** Makes the table hold exactly this, in one transaction: at start, or after others interfered. */
  reset(pods: readonly PodPorts[]): Promise<void> {
    return this.#after(() => this.#reset(pods));
  }

  /** Puts a pod's ports in. Nothing is changed when it rejects. */
  add(pod: PodPorts): Promise<void> {
    return this.#after(async () => {
      const b = new NftBatch();
      // Made with the first pod: a node without hostPorts has no table to pay for.
      if (!this.#present) putStructure(b);
      for (const { set, element } of allElements(pod)) b.addElements(set, [element]);
      await this.#nft.commit(b);
      this.#present = true;
    });
  }

  /** Takes a pod's ports out. Those who leave while the kernel is busy leave together: it pays a grace period per commit. */
  remove(pod: PodPorts): Promise<void> {
    this.#leaving.push(pod);
    this.#departure ??= this.#after(async () => {
      const pods = this.#leaving;
      this.#leaving = [];
      this.#departure = undefined;
      if (!this.#present) return;
      const b = new NftBatch();
      for (const { set, element } of pods.flatMap(allElements)) b.delElements(set, [{ key: element.key }]);
      await this.#nft.commit(b);
    });
    return this.#departure;
  }

  /** Whether the kernel has all of a pod's elements, with what they lead to. Lists the maps: for CHECK, not for ADD. */
  async has(pod: PodPorts): Promise<boolean> {
    if (!(await this.exists())) return false;
    const text = (bytes: Uint8Array | undefined): string => Buffer.from(bytes ?? []).toString('hex');
    const present = new Set<string>();
    const wanted = allElements(pod);
    for (const set of new Set(wanted.map((item) => item.set))) {
      for (const { key, data } of await this.#nft.listElements(set)) {
        present.add(`${set.name} ${text(key)} ${text(data as Uint8Array | undefined)}`);
      }
    }
    return wanted.every(({ set, element }) =>
      present.has(`${set.name} ${text(element.key)} ${text(element.data as Uint8Array | undefined)}`),
    );
  }

  /** True when a table of our name is there, whoever left it. */
  async exists(): Promise<boolean> {
    return (await this.#nft.listTables(TABLE.family)).some((table) => table.name === TABLE.name);
  }

  close(): void {
    this.#nft.close();
  }

  #after(work: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => {});
    return run;
  }

  async #reset(pods: readonly PodPorts[]): Promise<void> {
    const b = new NftBatch();
    b.destroyTable(TABLE);
    if (pods.length > 0) {
      putStructure(b);
      for (const { set, element } of pods.flatMap(allElements)) b.addElements(set, [element]);
    }
    await this.#nft.commit(b);
    this.#present = pods.length > 0;
  }
}
