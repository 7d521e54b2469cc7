import { type Element, expr, type Expr, isKernelError, Nft, NftBatch, type SetSpec, values } from '@weft/kernel';
import type { NodeNetwork } from '../wiring/node.ts';
import { programFailed, runProgram } from './common/program.ts';
import { entryOf } from './portmap-elements.ts';
import type { PortEntry } from './ports.ts';

/** What one pod adds to the table. */
export interface PodPorts {
  readonly entries: readonly PortEntry[];
  /** On everything of the pod in the kernel: whose it is. */
  readonly comment: string;
  readonly snat: boolean;
  readonly masqAll: boolean;
  /** Expressions of nftables that packets must match as well; entries of a family with some are rules, not elements. */
  readonly conditions?: Readonly<Record<4 | 6, readonly string[]>>;
}

const TABLE = { family: 'inet', name: 'weft-portmap' } as const;
/** Tells a table that this code has made from one of an earlier version. */
const ABOUT = 'hostPorts of pods, form 2';
const CONDITIONAL = 'conditional';
const in_ = { family: TABLE.family, table: TABLE.name } as const;

const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const FAMILIES = [4, 6] as const;

interface Maps {
  readonly any: SetSpec;
  readonly bound: SetSpec;
  readonly hairpin: SetSpec;
  readonly all: SetSpec;
}

function maps(family: 4 | 6): Maps {
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
    all: { ...in_, name: `all${family}`, key: address, comment: 'pods that see the node as the source (masqAll)' },
  };
}

const MAPS = { 4: maps(4), 6: maps(6) } as const;

function ip(family: 4 | 6, text: string): Uint8Array {
  return family === 4 ? values.ip4(text) : values.ip6(text);
}

interface Item {
  readonly set: SetSpec;
  readonly element: Element;
}

function elementOf(entry: PortEntry, comment: string): Item {
  const { family, protocol, hostPort } = entry;
  const port = [values.proto(protocol), values.u16be(hostPort)] as const;
  const bound = entry.hostIp !== undefined;
  const key = bound ? values.fields(ip(family, entry.hostIp as string), ...port) : values.fields(...port);
  const data = values.fields(ip(family, entry.podIp), values.u16be(entry.containerPort));
  return { set: bound ? MAPS[family].bound : MAPS[family].any, element: { key, data, comment } };
}

function conditionsOf(pod: PodPorts, family: 4 | 6): readonly string[] {
  return pod.conditions?.[family] ?? [];
}

function allElements(pod: PodPorts): Item[] {
  const { comment } = pod;
  const pods = new Map(pod.entries.map((entry) => [entry.podIp, entry.family]));
  const sources = [...pods].map(([podIp, family]): Item => {
    const address = ip(family, podIp);
    return pod.masqAll
      ? { set: MAPS[family].all, element: { key: address, comment } }
      : { set: MAPS[family].hairpin, element: { key: values.fields(address, address), comment } };
  });
  return [
    ...pod.entries
      .filter((entry) => conditionsOf(pod, entry.family).length === 0)
      .map((entry) => elementOf(entry, comment)),
    ...(pod.snat ? sources : []),
  ];
}

/** Rules of entries with conditions, as `nft` takes them: expressions have no other form than its. */
function conditionalRules(pod: PodPorts): string[] {
  return pod.entries.flatMap(({ family, hostIp, protocol, hostPort, podIp, containerPort }) => {
    const conditions = conditionsOf(pod, family);
    if (conditions.length === 0) return [];
    const name = family === 4 ? 'ip' : 'ip6';
    const to = hostIp === undefined ? '' : ` ${name} daddr ${hostIp}`;
    const target = family === 4 ? `${podIp}:${containerPort}` : `[${podIp}]:${containerPort}`;
    const own = `meta nfproto ipv${family}${to} ${protocol} dport ${hostPort}`;
    const says = `comment ${JSON.stringify(pod.comment)}`;
    return [
      `add rule inet ${TABLE.name} ${CONDITIONAL} ${conditions.join(' ')} ${own} dnat ${name} to ${target} ${says}`,
    ];
  });
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
  b.addTable({ ...TABLE, comment: ABOUT });
  for (const family of FAMILIES) for (const set of Object.values(MAPS[family])) b.addSet(set);
  const { dstnat, srcnat } = values.PRIORITY;
  b.addChain({ ...in_, name: CONDITIONAL });
  b.addChain({ ...in_, name: 'hostports' });
  // Before kube-proxy and its kin, so that a hostPort wins over a NodePort, as in the reference plugin.
  b.addChain({ ...in_, name: 'prerouting', hook: { hook: 'prerouting', type: 'nat', priority: dstnat - 1 } });
  b.addChain({ ...in_, name: 'output', hook: { hook: 'output', type: 'nat', priority: dstnat - 1 } });
  b.addChain({ ...in_, name: 'postrouting', hook: { hook: 'postrouting', type: 'nat', priority: srcnat - 1 } });
  b.addChain({ ...in_, name: 'guard', hook: { hook: 'prerouting', type: 'filter', priority: dstnat - 2 } });
  // Another process may have made them since we looked; the rules must be there once.
  for (const name of ['hostports', 'prerouting', 'output', 'postrouting', 'guard']) b.flushChain({ ...in_, name });
  b.addRule({ ...in_, chain: 'hostports', exprs: [expr.verdict({ jump: CONDITIONAL })] });
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
  const translated = [
    expr.ct('status', r(9)),
    expr.bitwise({ sreg: r(9), dreg: r(9), mask: values.u32ne(values.CT_STATUS.dnat) }),
    expr.cmp('neq', r(9), values.u32ne(0)),
  ];
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
    const everybody = [
      expr.meta('nfproto', r(8)),
      expr.cmp('eq', r(8), values.u8(family === 4 ? 2 : 10)),
      ...translated,
      expr.payload(h.daddr, family === 4 ? r(0) : expr.reg(1)),
      expr.lookup({ set: MAPS[family].all.name, sreg: r(0) }),
      masquerade,
    ];
    b.addRule({ ...in_, chain: 'postrouting', exprs: everybody, comment: 'masqAll' });
  }
  const loopback = (field: typeof expr.header.ip.saddr | typeof expr.header.ip.daddr): Expr[] => [
    expr.meta('nfproto', r(8)),
    expr.cmp('eq', r(8), values.u8(2)),
    expr.payload(field, r(0)),
    expr.bitwise({ sreg: r(0), dreg: r(0), mask: Uint8Array.of(255, 0, 0, 0) }),
    expr.cmp('eq', r(0), Uint8Array.of(127, 0, 0, 0)),
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

/** What the kernel has of one pod. */
export interface FoundPorts {
  readonly comment: string;
  readonly entries: readonly PortEntry[];
  readonly snat: boolean;
  readonly masqAll: boolean;
  /** Number of rules with conditions. */
  readonly rules: number;
}

/** The nftables table of hostPorts: maps per family, whatever the number of pods. Changes are made one at a time. */
export class PortmapTable {
  readonly #node: NodeNetwork;
  readonly #nft: Nft;
  #present = false;
  #tail: Promise<void> = Promise.resolve();
  #leaving: PodPorts[] = [];
  #departure: Promise<void> | undefined;

  constructor(node: NodeNetwork) {
    this.#node = node;
    this.#nft = Nft.open(node.ns);
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
      try {
        await this.#addRules([pod]);
      } catch (error) {
        await this.#remove([pod]);
        throw error;
      }
    });
  }

  /** Takes a pod's ports out. Those who leave while the kernel is busy leave together: it pays a grace period per commit. */
  remove(pod: PodPorts): Promise<void> {
    this.#leaving.push(pod);
    this.#departure ??= this.#after(async () => {
      const pods = this.#leaving;
      this.#leaving = [];
      this.#departure = undefined;
      if (this.#present) await this.#remove(pods);
    });
    return this.#departure;
  }

  /** Takes out what has this comment, and is no error when nothing has. */
  removeMarked(comment: string): Promise<void> {
    return this.#after(async () => {
      if (!(await this.exists())) return;
      const b = new NftBatch();
      let any = false;
      for (const { set, element } of (await this.#items()).filter((item) => item.element.comment === comment)) {
        b.delElements(set, [{ key: element.key }]);
        any = true;
      }
      any = (await this.#delRules(b, new Set([comment]))) > 0 || any;
      try {
        if (any) await this.#nft.commit(b);
      } catch (error) {
        // Somebody else removed them meanwhile.
        if (!isKernelError(error, 'ENOENT')) throw error;
      }
    });
  }

  /** Whether the kernel has all of a pod's elements, with what they lead to. Lists the maps: for CHECK, not for ADD. */
  async has(pod: PodPorts): Promise<boolean> {
    if (!(await this.exists())) return false;
    const hex = (bytes: Element['data']): string =>
      Buffer.from(bytes instanceof Uint8Array ? bytes : []).toString('hex');
    const text = ({ set, element }: Item): string => `${set.name} ${hex(element.key)} ${hex(element.data)}`;
    const present = new Set((await this.#items()).map(text));
    if (!allElements(pod).every((item) => present.has(text(item)))) return false;
    const rules = conditionalRules(pod).length;
    if (rules === 0) return true;
    const own = (await this.#nft.listRules(TABLE, CONDITIONAL)).filter(({ comment }) => comment === pod.comment);
    return own.length >= rules;
  }

  /** True when a table of our name is there, whoever left it. */
  async exists(): Promise<boolean> {
    return (await this.#nft.listTables(TABLE.family)).some((table) => table.name === TABLE.name);
  }

  /** What the kernel has, by comment; undefined when there is no table, or one of another version. */
  async load(): Promise<Map<string, FoundPorts> | undefined> {
    const table = (await this.#nft.listTables(TABLE.family)).find(({ name }) => name === TABLE.name);
    if (table?.comment !== ABOUT) return undefined;
    this.#present = true;
    const found = new Map<string, FoundPorts>();
    const change = (comment: string, make: (old: FoundPorts) => Partial<FoundPorts>): void => {
      const old = found.get(comment) ?? { comment, entries: [], snat: false, masqAll: false, rules: 0 };
      found.set(comment, { ...old, ...make(old) });
    };
    for (const { set, element } of await this.#items()) {
      const { comment } = element;
      if (comment === undefined) continue;
      const family = set.name.endsWith('4') ? 4 : 6;
      if (set === MAPS[family].all) change(comment, () => ({ snat: true, masqAll: true }));
      else if (set === MAPS[family].hairpin) change(comment, () => ({ snat: true }));
      else {
        const entry = entryOf(family, set === MAPS[family].bound, element);
        if (entry !== undefined) change(comment, (old) => ({ entries: [...old.entries, entry] }));
      }
    }
    for (const { comment } of await this.#nft.listRules(TABLE, CONDITIONAL)) {
      if (comment !== undefined) change(comment, (old) => ({ rules: old.rules + 1 }));
    }
    return found;
  }

  close(): void {
    this.#nft.close();
  }

  #after(work: () => Promise<void>): Promise<void> {
    const run = this.#tail.then(work);
    this.#tail = run.catch(() => {});
    return run;
  }

  async #items(): Promise<Item[]> {
    const items: Item[] = [];
    for (const family of FAMILIES) {
      for (const set of Object.values(MAPS[family]) as SetSpec[]) {
        for (const element of await this.#nft.listElements(set)) items.push({ set, element });
      }
    }
    return items;
  }

  async #remove(pods: readonly PodPorts[]): Promise<void> {
    const b = new NftBatch();
    for (const { set, element } of pods.flatMap(allElements)) b.delElements(set, [{ key: element.key }]);
    const ruled = pods.filter((pod) => pod.conditions !== undefined).map(({ comment }) => comment);
    if (ruled.length > 0) await this.#delRules(b, new Set(ruled));
    await this.#nft.commit(b);
  }

  /** Number of rules that the batch deletes now. */
  async #delRules(b: NftBatch, comments: ReadonlySet<string>): Promise<number> {
    const gone = (await this.#nft.listRules(TABLE, CONDITIONAL)).filter(({ comment = '' }) => comments.has(comment));
    for (const { handle } of gone) b.delRule({ ...in_, chain: CONDITIONAL, handle });
    return gone.length;
  }

  async #addRules(pods: readonly PodPorts[]): Promise<void> {
    const rules = pods.flatMap(conditionalRules);
    if (rules.length === 0) return;
    const call = { program: 'nft', args: ['-f', '-'], input: `${rules.join('\n')}\n`, debianPackage: 'nftables' };
    const done = await runProgram(this.#node, call);
    if (done.code !== 0) throw programFailed('nft, which reads conditionsV4 and conditionsV6,', done);
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
    await this.#addRules(pods);
  }
}
