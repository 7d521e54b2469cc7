import { endianness } from 'node:os';
import type { Expr, ListedChain, ListedElement, ListedRule, Nft } from '@weft/kernel';
import type { FamilyConfig } from '../config.ts';
import type { Packed } from '../model/packed.ts';
import { emptyFound, type Found } from './found.ts';
import { idOf, nftFamily, parseClassName, setSpecs, slotOf, TABLE, tableComment } from './layout.ts';
import { type ChainText, RuleText } from './rules.ts';

/** What is in the place of our table. */
export type Readback =
  | { readonly state: 'absent' }
  /** There, but not one this program can continue from; `why` is for the log. */
  | { readonly state: 'foreign'; readonly why: string }
  | { readonly state: 'ours'; readonly found: Found };

const LITTLE = endianness() === 'LE';

// A cluster's table has over 100,000 elements: no views or buffers are made to read them.
function u32(bytes: Uint8Array, at: number): number {
  const a = bytes[at] ?? 0;
  const b = bytes[at + 1] ?? 0;
  const c = bytes[at + 2] ?? 0;
  const d = bytes[at + 3] ?? 0;
  return (LITTLE ? a | (b << 8) | (c << 16) | (d << 24) : d | (c << 8) | (b << 16) | (a << 24)) >>> 0;
}

/** The buffer that elements were last cut from: many come from each. */
let whole: Buffer = Buffer.alloc(0);

function text(bytes: Uint8Array, from = 0, to = bytes.length): Packed {
  if (whole.buffer !== bytes.buffer) whole = Buffer.from(bytes.buffer);
  return whole.toString('latin1', bytes.byteOffset + from, bytes.byteOffset + to);
}

/** Address and port, without the padding. */
function endpoint(data: Uint8Array): Packed {
  return text(data, 0, data.length - 2);
}

function frontend(key: Uint8Array): Packed {
  const at = key.length - 8;
  return text(key, 0, at + 1) + text(key, at + 4, at + 6);
}

/**
 * Reads one family's table. This is done once at start, and by audits; the hot path never lists.
 * The set `affinity` is not read: it may be large, and stale entries of it heal themselves.
 */
export async function readTable(nft: Nft, config: FamilyConfig): Promise<Readback> {
  const family = nftFamily(config.family);
  const table = (await nft.listTables(family)).find((t) => t.name === TABLE);
  if (table === undefined) return { state: 'absent' };
  if (table.comment !== tableComment(config)) {
    return { state: 'foreign', why: `its comment is ${JSON.stringify(table.comment ?? '')}` };
  }
  const chains = new Map((await nft.listChains({ family, name: TABLE })).map((c) => [c.name, c]));
  const rules = new Map<string, ListedRule[]>();
  for (const rule of await nft.listRules({ family, name: TABLE })) {
    const list = rules.get(rule.chain);
    if (list === undefined) rules.set(rule.chain, [rule]);
    else list.push(rule);
  }
  const sets = new Set((await nft.listSets({ family, name: TABLE })).map((s) => s.name));
  const why =
    wrongSets(config, sets) ?? wrongChains(config, chains, rules) ?? (await wrongClasses(nft, config, chains));
  if (why !== undefined) return { state: 'foreign', why };
  return { state: 'ours', found: await readElements(nft, config, chains, sets) };
}

function wrongSets(config: FamilyConfig, sets: ReadonlySet<string>): string | undefined {
  const missing = setSpecs(config).find((spec) => !sets.has(spec.name));
  return missing === undefined ? undefined : `set ${missing.name} is missing`;
}

/** What of a rule an outsider could have changed: the kinds of its expressions and where it leads. */
function outline(exprs: readonly Expr[]): string {
  return exprs
    .map((e) => {
      if (e.type === 'verdict') return JSON.stringify(e.verdict);
      if (e.type === 'lookup' || e.type === 'dynset') return `${e.type} ${e.set}`;
      return e.type;
    })
    .join(' ');
}

function differs(expected: ChainText, chain: ListedChain | undefined, rules: readonly ListedRule[]): boolean {
  if (chain === undefined || chain.hook?.hook !== expected.hook?.hook) return true;
  if (rules.length !== expected.rules.length) return true;
  return expected.rules.some((exprs, i) => outline(exprs) !== outline(rules[i]?.exprs ?? []));
}

function wrongChains(
  config: FamilyConfig,
  chains: ReadonlyMap<string, ListedChain>,
  rules: ReadonlyMap<string, readonly ListedRule[]>,
): string | undefined {
  const texts = new RuleText(config);
  const expected = texts.fixedChains();
  for (const name of chains.keys()) {
    const parsed = parseClassName(name);
    if (parsed !== undefined) expected.push(...texts.classChains(parsed.kind, parsed.endpoints, parsed.affinity));
    if (name.startsWith('fw-')) expected.push(texts.firewallChain(name, `r${name.slice(2)}`));
  }
  const wrong = expected.find((c) => differs(c, chains.get(c.name), rules.get(c.name) ?? []));
  return wrong === undefined ? undefined : `chain ${wrong.name} was changed`;
}

async function readClasses(nft: Nft, config: FamilyConfig): Promise<[number, string][]> {
  const family = nftFamily(config.family);
  const out: [number, string][] = [];
  for (const name of ['classes', 'local-classes']) {
    for (const element of await nft.listElements({ family, table: TABLE, name, key: 'classid', data: 'verdict' })) {
      const verdict = element.data;
      const chain =
        typeof verdict === 'object' && 'goto' in verdict ? verdict.goto : verdict === 'drop' ? 'drop' : 'unknown';
      out.push([u32(element.key, 0) >>> 20, chain]);
    }
  }
  return out;
}

async function wrongClasses(
  nft: Nft,
  config: FamilyConfig,
  chains: ReadonlyMap<string, ListedChain>,
): Promise<string | undefined> {
  const classes = await readClasses(nft, config);
  const byNumber = new Map(classes);
  if (byNumber.get(1) !== 'reject-it' || byNumber.get(2) !== 'drop') return 'the fixed classes were changed';
  if (byNumber.size !== classes.length) return 'a class number is used twice';
  const names = new Set<string>();
  for (const [number, name] of byNumber) {
    if (number < 3) continue;
    if (parseClassName(name) === undefined || !chains.has(name) || names.has(name))
      return `class ${number} was changed`;
    names.add(name);
  }
  for (const name of chains.keys()) {
    if (parseClassName(name) !== undefined && !names.has(name)) return `chain ${name} has no class`;
  }
  return undefined;
}

async function readElements(
  nft: Nft,
  config: FamilyConfig,
  chains: ReadonlyMap<string, ListedChain>,
  sets: ReadonlySet<string>,
): Promise<Found> {
  const family = nftFamily(config.family);
  const found = emptyFound();
  const specs = new Map(setSpecs(config).map((spec) => [spec.name, spec]));
  const each = async (name: string, take: (key: Uint8Array, data: Uint8Array) => void): Promise<void> => {
    const spec = specs.get(name);
    if (spec === undefined) return;
    for (const element of await nft.listElements(spec)) take(element.key, bytes(element));
  };
  for (const name of ['frontends', 'nodeports']) {
    await each(name, (key, data) => found.frontends.set(frontend(key), u32(data, 0)));
  }
  await each('endpoints', (key, data) => place(found.endpoints, u32(key, 0), u32(key, 4), endpoint(data)));
  await each('slots', (key, data) => place(found.slots, u32(key, 0), u32(key, 4), slotOf(u32(data, 0))));
  await each('slot-endpoints', (key, data) => {
    const p = u32(key, 0);
    const bySlot = found.slotEndpoints.get(idOf(p)) ?? new Map<number, Packed>();
    bySlot.set(slotOf(p), endpoint(data));
    found.slotEndpoints.set(idOf(p), bySlot);
  });
  await each('local', (key, data) => found.local.set(u32(key, 0), u32(data, 0)));
  await each('hairpin', (key) => found.hairpin.add(text(key, 0, key.length / 2)));
  await each('cluster-ips', (key) => found.clusterIPs.add(text(key)));
  await each('nodeport-ips', (key) => found.nodePortIPs.add(text(key)));
  for (const [number, name] of await readClasses(nft, config)) {
    if (number > 2) found.classes.set(number, name);
  }
  for (const element of await nft.listElements({
    family,
    table: TABLE,
    name: 'firewall',
    key: 'mark',
    data: 'verdict',
  })) {
    const verdict = element.data;
    if (typeof verdict === 'object' && 'jump' in verdict) found.firewall.set(frontend(element.key), verdict.jump);
  }
  for (const name of chains.keys()) {
    if (name.startsWith('fw-') && sets.has(`r${name.slice(2)}`)) found.firewallChains.add(name);
  }
  whole = Buffer.alloc(0);
  return found;
}

function bytes(element: ListedElement): Uint8Array {
  return element.data instanceof Uint8Array ? element.data : new Uint8Array(8);
}

function place<T>(map: Map<number, (T | undefined)[]>, id: number, index: number, value: T): void {
  let list = map.get(id);
  if (list === undefined) {
    list = [];
    map.set(id, list);
  }
  // An index far beyond the end is no list of ours; it is kept as a gap and so not continued from.
  list[index] = value;
}
