import { formatIp, lastAddress, parsePrefix } from '@weft/net';
import { type Element, expr, type Expr, type Nft, NftBatch, type SetSpec, values } from '@weft/kernel';
import type { FabricEntry, MasqueradeSetEntry } from '../entries.ts';

const TABLE = { family: 'inet', name: 'weft-fabric' } as const;
const in_ = { family: TABLE.family, table: TABLE.name } as const;
const ADDRESS = { 4: 'ipv4_addr', 6: 'ipv6_addr' } as const;
const r = expr.reg32;

function setSpec(set: MasqueradeSetEntry['set'], family: 4 | 6): SetSpec {
  const comment = set === 'pods' ? 'addresses of pods' : 'reached by pods with their own address';
  return { ...in_, name: `${set}${family}`, key: ADDRESS[family], flags: { interval: true }, comment };
}

const SETS: readonly SetSpec[] = (['pods', 'direct'] as const).flatMap((set) => [setSpec(set, 4), setSpec(set, 6)]);

function element(entry: MasqueradeSetEntry): { readonly set: SetSpec; readonly element: Element } {
  const prefix = parsePrefix(entry.cidr);
  if (prefix === undefined) throw new RangeError(`not a CIDR block: ${entry.cidr}`);
  const set = setSpec(entry.set, prefix.ip.family);
  return { set, element: { key: prefix.ip.bytes, keyEnd: lastAddress(prefix).bytes } };
}

function rule(family: 4 | 6): Expr[] {
  const h = family === 4 ? expr.header.ip : expr.header.ip6;
  const address = family === 4 ? r(0) : expr.reg(1);
  return [
    expr.meta('nfproto', r(0)),
    expr.cmp('eq', r(0), values.u8(family === 4 ? 2 : 10)),
    expr.payload(h.saddr, address),
    expr.lookup({ set: `pods${family}`, sreg: address }),
    expr.payload(h.daddr, address),
    expr.lookup({ set: `pods${family}`, sreg: address, invert: true }),
    expr.lookup({ set: `direct${family}`, sreg: address, invert: true }),
    // Ports picked at random do not collide when many pods ask the same server at once (the 5 s DNS delays).
    expr.masquerade({ flags: ['fully-random'] }),
  ];
}

function putStructure(b: NftBatch): void {
  b.addTable({ ...TABLE, comment: 'what pods send outside the cluster gets the address of the node' });
  for (const set of SETS) b.addSet(set);
  const hook = { hook: 'postrouting', type: 'nat', priority: values.PRIORITY.srcnat } as const;
  b.addChain({ ...in_, name: 'postrouting', hook });
  for (const family of [4, 6] as const) b.addRule({ ...in_, chain: 'postrouting', exprs: rule(family) });
}

function isMasquerade(entry: FabricEntry): boolean {
  return entry.type === 'masquerade' || entry.type === 'masquerade-set';
}

const setsOf = (entries: Iterable<FabricEntry>): MasqueradeSetEntry[] =>
  [...entries].filter((entry): entry is MasqueradeSetEntry => entry.type === 'masquerade-set');

/** The masquerade rules: two rules and four sets, whatever the number of pods and nodes. */
export class Masquerade {
  readonly #nft: Nft;
  #present = false;

  constructor(nft: Nft) {
    this.#nft = nft;
  }

  /** Brings a change into effect in one transaction. `desired` is everything after the change. */
  async apply(
    added: readonly FabricEntry[],
    removed: readonly FabricEntry[],
    desired: Iterable<FabricEntry>,
  ): Promise<void> {
    if (!added.some(isMasquerade) && !removed.some(isMasquerade)) return;
    const all = [...desired];
    const wanted = all.some((entry) => entry.type === 'masquerade');
    if (!wanted || !this.#present) {
      await this.reset(wanted ? all : []);
      return;
    }
    const b = new NftBatch();
    for (const entry of setsOf(removed)) {
      const target = element(entry);
      b.delElements(target.set, [target.element]);
    }
    for (const entry of setsOf(added)) {
      const target = element(entry);
      b.addElements(target.set, [target.element]);
    }
    try {
      await this.#nft.commit(b);
    } catch {
      // The table is not as we left it: one transaction replaces it, and no packet meets a gap.
      await this.reset(all);
    }
  }

  /** Makes the table hold exactly this; without entries it goes. */
  async reset(entries: Iterable<FabricEntry>): Promise<void> {
    const all = [...entries];
    const wanted = all.some((entry) => entry.type === 'masquerade');
    const b = new NftBatch();
    b.destroyTable(TABLE);
    if (wanted) {
      putStructure(b);
      for (const entry of setsOf(all)) {
        const target = element(entry);
        b.addElements(target.set, [target.element]);
      }
    }
    await this.#nft.commit(b);
    this.#present = wanted;
  }

  /** Number of entries that the kernel lacks or has too many; the whole table counts as one. */
  async drift(desired: Iterable<FabricEntry>): Promise<number> {
    const all = [...desired];
    const wanted = all.some((entry) => entry.type === 'masquerade');
    const tables = await this.#nft.listTables(TABLE.family);
    const there = tables.some((table) => table.name === TABLE.name);
    if (!wanted || !there) return wanted === there ? 0 : 1;
    if ((await this.#nft.listRules(TABLE, 'postrouting')).length !== 2) return 1;
    const expected = new Map<string, Set<string>>(SETS.map((set) => [set.name, new Set<string>()]));
    for (const entry of setsOf(all)) {
      const prefix = parsePrefix(entry.cidr);
      if (prefix !== undefined)
        expected.get(setSpec(entry.set, prefix.ip.family).name)?.add(rangeText(element(entry).element));
    }
    let wrong = 0;
    for (const set of SETS) {
      const want = expected.get(set.name) ?? new Set<string>();
      const have = new Set((await this.#nft.listElements(set)).map(rangeText));
      for (const text of want) if (!have.has(text)) wrong += 1;
      for (const text of have) if (!want.has(text)) wrong += 1;
    }
    return wrong;
  }
}

function rangeText(e: Element): string {
  return `${formatIp(e.key)}-${formatIp(e.keyEnd ?? e.key)}`;
}
