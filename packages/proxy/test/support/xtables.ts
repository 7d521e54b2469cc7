import type { Answer, Source, Target } from './oracle.ts';

/** Table → chain → rules, as x_tables would hold them, and as strict as it is about what it is told. */
export class FakeTables {
  readonly tables = new Map<string, Map<string, string[]>>([
    [
      'filter',
      new Map([
        ['INPUT', []],
        ['FORWARD', []],
        ['OUTPUT', []],
      ]),
    ],
    [
      'nat',
      new Map([
        ['PREROUTING', []],
        ['INPUT', []],
        ['OUTPUT', []],
        ['POSTROUTING', []],
      ]),
    ],
    ['mangle', new Map()],
  ]);

  /** iptables-restore --noflush: each table changes as a whole or not at all. */
  restore(text: string): void {
    let table = new Map<string, string[]>();
    let name = '';
    for (const line of text.split('\n')) {
      if (line === '') continue;
      if (line.startsWith('*')) {
        name = line.slice(1);
        const known = this.tables.get(name);
        if (known === undefined) throw new Error(`no table ${name}`);
        table = new Map([...known].map(([chain, rules]) => [chain, [...rules]]));
      } else if (line.startsWith(':')) {
        table.set(line.slice(1).split(' ')[0] as string, []);
      } else if (line === 'COMMIT') {
        check(table, name);
        this.tables.set(name, table);
      } else this.#command(table, line);
    }
  }

  #command(table: Map<string, string[]>, line: string): void {
    const [op, chain = ''] = line.split(' ');
    const rules = table.get(chain);
    if (rules === undefined) throw new Error(`no chain: ${line}`);
    if (op === '-A') rules.push(line);
    else if (op === '-I') rules.unshift(line.replace('-I', '-A'));
    else if (op === '-X') {
      if (rules.length > 0) throw new Error(`chain not empty: ${line}`);
      table.delete(chain);
    } else throw new Error(`not understood: ${line}`);
  }

  /** The form of iptables-save, near enough for our reader. */
  save(name: string): string {
    const table = this.tables.get(name) ?? new Map<string, string[]>();
    const chains = [...table.keys()].map((chain) => `:${chain} - [0:0]`);
    return [`*${name}`, ...chains, ...[...table.values()].flat(), 'COMMIT', ''].join('\n');
  }
}

function targetOf(rule: string): string | undefined {
  return / -j (\S+)/.exec(rule)?.[1];
}

const BUILT_IN = new Set(['ACCEPT', 'DROP', 'RETURN', 'REJECT', 'MARK', 'MASQUERADE', 'DNAT']);

function check(table: ReadonlyMap<string, readonly string[]>, name: string): void {
  for (const rule of [...table.values()].flat()) {
    const to = targetOf(rule);
    if (to !== undefined && !BUILT_IN.has(to) && !table.has(to))
      throw new Error(`${name}: nothing to jump to: ${rule}`);
  }
}

interface Packet {
  readonly source: Source;
  readonly target: Target;
  readonly podBlock: RegExp;
  readonly local: ReadonlySet<string>;
}

/** One way through the rules, with its probability. */
interface Way {
  readonly verdict: 'ACCEPT' | 'DROP' | 'REJECT' | 'DNAT' | undefined;
  readonly to?: string;
  readonly marked: boolean;
  readonly chance: number;
}

/** What a first packet meets, over every draw of lots; affinity lists are empty. `ways` adds up to one. */
export function meet(tables: FakeTables, packet: Packet): Answer & { readonly chances: ReadonlyMap<string, number> } {
  const start = packet.source.kind === 'node' ? 'OUTPUT' : 'PREROUTING';
  const nat = tables.tables.get('nat') as Map<string, string[]>;
  const filter = tables.tables.get('filter') as Map<string, string[]>;
  const chances = new Map<string, number>();
  const masqueraded = new Map<string, boolean>();
  const verdicts = new Set<Answer['verdict']>();
  for (const way of walk(nat, start, packet, false)) {
    const toUs = way.to === undefined && packet.local.has(packet.target.address);
    const hook = packet.source.kind === 'node' ? 'OUTPUT' : toUs ? 'INPUT' : 'FORWARD';
    const seen = way.to === undefined ? packet : { ...packet, target: translated(packet.target, way.to) };
    const [first] = [...walk(filter, hook, seen, way.marked)];
    if (first?.verdict === 'DROP') verdicts.add('drop');
    else if (first?.verdict === 'REJECT') verdicts.add('reject');
    else if (way.to === undefined) verdicts.add('pass');
    else {
      verdicts.add('serve');
      chances.set(way.to, (chances.get(way.to) ?? 0) + way.chance);
      masqueraded.set(way.to, way.marked);
    }
  }
  if (verdicts.size !== 1) throw new Error(`several verdicts: ${[...verdicts].join()}`);
  const endpoints = [...chances.keys()].sort();
  return {
    verdict: [...verdicts][0] as Answer['verdict'],
    endpoints,
    masqueraded: endpoints.map((endpoint) => masqueraded.get(endpoint) === true),
    chances,
  };
}

function translated(target: Target, to: string): Target {
  const [address = '', port = '0'] = to.split(':');
  return { ...target, address, port: Number(port) };
}

/** Depth first through a chain; a way without a verdict came out at its end. */
function* walk(
  table: ReadonlyMap<string, readonly string[]>,
  chain: string,
  packet: Packet,
  marked: boolean,
  from = 0,
  chance = 1,
): Generator<Way> {
  const rules = table.get(chain) ?? [];
  for (let i = from; i < rules.length; i++) {
    const rule = rules[i] as string;
    const hit = matches(rule, packet, marked);
    const target = targetOf(rule);
    if (hit === 0 || target === undefined) continue;
    if (hit < 1) yield* walk(table, chain, packet, marked, i + 1, chance * (1 - hit));
    const taken = chance * hit;
    switch (target) {
      case 'RETURN':
        yield { verdict: undefined, marked, chance: taken };
        return;
      case 'ACCEPT':
      case 'DROP':
      case 'REJECT':
        yield { verdict: target, marked, chance: taken };
        return;
      case 'DNAT':
        yield { verdict: 'DNAT', to: / --to-destination (\S+)/.exec(rule)?.[1] as string, marked, chance: taken };
        return;
      case 'MARK':
        marked = true;
        break;
      default:
        for (const way of walk(table, target, packet, marked, 0, taken)) {
          if (way.verdict !== undefined) yield way;
          else yield* walk(table, chain, packet, way.marked, i + 1, way.chance);
        }
        return;
    }
    if (hit < 1) return;
  }
  yield { verdict: undefined, marked, chance };
}

/** The share of packets like this one that the rule takes. */
function matches(rule: string, { source, target, podBlock, local }: Packet, marked: boolean): number {
  const text = rule.replace(/"[^"]*"/g, '');
  const value = (option: string): string | undefined => new RegExp(`(?:^| )(?:! )?${option} (\\S+)`).exec(text)?.[1];
  const not = (option: string): boolean => text.includes(` ! ${option} `);
  const fails = (option: string, hit: (v: string) => boolean): boolean => {
    const v = value(option);
    return v !== undefined && hit(v) === not(option);
  };
  const inBlock = (address: string, block: string): boolean =>
    block === '10.244.0.0/16' ? podBlock.test(address) : covers(block, address);
  if (fails('-p', (v) => v.toUpperCase() === target.protocol)) return 0;
  if (fails('--dport', (v) => Number(v) === target.port)) return 0;
  if (fails('-d', (v) => inBlock(target.address, v))) return 0;
  if (fails('-s', (v) => inBlock(source.address, v))) return 0;
  if (fails('--dst-type', () => local.has(target.address))) return 0;
  if (fails('--src-type', () => source.kind === 'node')) return 0;
  if (fails('--ctstate', (v) => v.split(',').includes('NEW'))) return 0;
  if (fails('--mark', () => marked)) return 0;
  if (text.includes('--rcheck')) return 0;
  return Number(value('--probability') ?? 1);
}

function covers(block: string, address: string): boolean {
  const number = (t: string): number => t.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const [base = '', bits = '32'] = block.split('/');
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(address) / size) === Math.floor(number(base) / size);
}
