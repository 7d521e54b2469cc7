import { diffPlans, type Diff, type Entry } from '@weft/plan';
import type { Family } from '@weft/net';
import type { FamilyConfig } from '../config.ts';
import { FamilyRules } from '../iptables/family.ts';
import { IpvsFamily } from '../ipvs/family.ts';
import { stepLines } from '../ipvs/text.ts';
import { writeRestore } from '../iptables/restore.ts';
import { formatAddress } from '../model/packed.ts';
import { socketLines } from '../ebpf/text.ts';
import type { Planned } from '../model/types.ts';
import type { Changes, ElementList } from '../nftables/changes.ts';
import { FamilyState } from '../nftables/family.ts';
import { classOf, type ElementSet, idOf, slotOf } from '../nftables/layout.ts';
import type { Mode } from '../options.ts';
import { compilePort } from '../userspace/rules.ts';

/** A line that comes (`+`) or goes (`-`). */
export interface RuleLine {
  readonly sign: '+' | '-';
  readonly text: string;
}

type Entries = ReadonlyMap<string, Entry<Planned>>;

/**
 * What leads a data plane from one plan to another, as text: the very transaction that it would write. The numbers of ids
 * and classes in nftables are those of a table that began with `before`; a node's own may differ. Pure.
 */
export function ruleChanges(mode: Mode, config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const mine = (entries: Entries): Map<string, Entry<Planned>> =>
    new Map([...entries].filter(([, { value }]) => value.family === config.family));
  const [from, to] = [mine(before), mine(after)];
  switch (mode) {
    case 'iptables':
      return iptablesChanges(config, from, to);
    case 'ipvs':
      return ipvsChanges(config, from, to);
    case 'userspace':
      return userspaceChanges(config, from, to);
    case 'nftables':
      return nftablesChanges(config, from, to);
    case 'ebpf':
      return [...ebpfChanges(config, from, to), ...nftablesChanges(config, from, to)];
  }
}

function whole(entries: Entries): Diff<Planned> {
  return diffPlans(new Map(), entries);
}

function iptablesChanges(config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const lines = (entries: Entries): string[] => {
    const rules = new FamilyRules(config);
    rules.update(whole(entries));
    const { text } = writeRestore({
      config,
      ports: rules.ports(true),
      stale: [],
      nodeAddresses: rules.planAddresses,
      dropInvalid: true,
      jumps: [],
      canaries: false,
    });
    return text.split('\n').filter((line) => line.startsWith('-A '));
  };
  const [old, now] = [lines(before), lines(after)];
  const [known, wanted] = [new Set(old), new Set(now)];
  return [
    ...old.filter((line) => !wanted.has(line)).map((text) => ({ sign: '-' as const, text })),
    ...now.filter((line) => !known.has(line)).map((text) => ({ sign: '+' as const, text })),
  ];
}

/** The rules, with names for what the node chooses itself: its address, and the ports it listens on. */
function userspaceChanges(config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const lines = (entries: Entries): string[] => {
    const values = [...entries.values()].map(({ value }) => value);
    const nodeAddresses = values.flatMap((v) => (v.type === 'NodePortAddress' ? [formatAddress(v.address)] : []));
    return values.flatMap((value) => {
      if (value.type !== 'ServicePort' || value.protocol === 'SCTP') return [];
      const sockets = {
        ...(value.cluster === '' ? {} : { cluster: 'PORT' }),
        ...(value.local === '' ? {} : { local: 'LOCALPORT' }),
      };
      const { filter, nat } = compilePort(value, sockets, { config, host: 'NODE', nodeAddresses });
      return [...nat, ...filter];
    });
  };
  const [old, now] = [lines(before), lines(after)];
  const [known, wanted] = [new Set(old), new Set(now)];
  return [
    ...old.filter((line) => !wanted.has(line)).map((text) => ({ sign: '-' as const, text })),
    ...now.filter((line) => !known.has(line)).map((text) => ({ sign: '+' as const, text })),
  ];
}

function ipvsChanges(config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const lines = (entries: Entries): string[] => {
    const state = new IpvsFamily({ config, settings: {}, local: new Set(), nodePortAddresses: [] });
    state.update(whole(entries));
    const local = state.planAddresses;
    state.moved({ ...state.around, local: new Set(local), nodePortAddresses: local });
    return stepLines(state.steps(true));
  };
  const [old, now] = [lines(before), lines(after)];
  const [known, wanted] = [new Set(old), new Set(now)];
  return [
    ...old.filter((line) => !wanted.has(line)).map((text) => ({ sign: '-' as const, text })),
    ...now.filter((line) => !known.has(line)).map((text) => ({ sign: '+' as const, text })),
  ];
}

/** Maps of the socket programs, a line per frontend. */
function ebpfChanges(config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const lines = (entries: Entries): string[] => (config.masqueradeAll ? [] : socketLines(config.family, entries));
  const [old, now] = [lines(before), lines(after)];
  const [known, wanted] = [new Set(old), new Set(now)];
  return [
    ...old.filter((line) => !wanted.has(line)).map((text) => ({ sign: '-' as const, text })),
    ...now.filter((line) => !known.has(line)).map((text) => ({ sign: '+' as const, text })),
  ];
}

function nftablesChanges(config: FamilyConfig, before: Entries, after: Entries): RuleLine[] {
  const state = new FamilyState(config);
  const first = state.update(whole(before), 0);
  const classes = new Map(first.classesAdded.map((add) => [add.number, add.chains.at(-1)?.name ?? '']));
  return formatChanges(state.update(diffPlans(before, after), 0), classes);
}

/** A transaction as lines in the order in which it is written. `classes`: names of classes that are there already. */
function formatChanges(changes: Changes, classes: Map<number, string>): RuleLine[] {
  const out: RuleLine[] = [];
  const line = (sign: '+' | '-', text: string): void => void out.push({ sign, text });
  for (const step of changes.steps()) {
    switch (step.do) {
      case 'addClass':
        classes.set(step.add.number, step.add.chains.at(-1)?.name ?? '');
        for (const chain of step.add.chains) line('+', `chain ${chain.name}`);
        break;
      case 'removeClass':
        for (const chain of step.remove.chains) line('-', `chain ${chain}`);
        break;
      case 'addFirewall':
        line('+', `set ${step.add.set} { ${step.add.ranges.join(', ')} }`);
        break;
      case 'removeFirewall':
        line('-', `set ${step.remove.set}`);
        break;
      case 'guard':
      case 'unguard':
        line(
          step.do === 'guard' ? '+' : '-',
          `firewall { ${frontend(Buffer.from(step.key, 'latin1'), changes.family)} : goto ${step.chain} }`,
        );
        break;
      case 'write':
        for (let i = 0; i < step.replaced.count; i++)
          line('-', `${step.set} { ${element(step.set, step.replaced, i, changes.family, classes)} }`);
        for (let i = 0; i < step.added.count; i++)
          line('+', `${step.set} { ${element(step.set, step.added, i, changes.family, classes)} }`);
        break;
      case 'remove':
        for (let i = 0; i < step.removed.count; i++)
          line('-', `${step.set} { ${element(step.set, step.removed, i, changes.family, classes)} }`);
        break;
    }
  }
  return out;
}

const PROTOCOLS: Readonly<Record<number, string>> = { 6: 'tcp', 17: 'udp', 132: 'sctp' };

function address(bytes: Uint8Array): string {
  return formatAddress(Buffer.from(bytes).toString('latin1'));
}

const port = (bytes: Uint8Array): number => ((bytes[0] as number) << 8) | (bytes[1] as number);

function frontend(bytes: Uint8Array, family: Family): string {
  const width = family === 4 ? 4 : 16;
  // A packed key is not padded, that of an element is.
  const padded = bytes.length === width + 8 || bytes.length === 8;
  const at = bytes.length - (padded ? 8 : 3);
  const protocol = PROTOCOLS[bytes[at] as number] ?? String(bytes[at]);
  const number = port(bytes.subarray(at + (padded ? 4 : 1)));
  return at === 0 ? `${protocol} . ${number}` : `${address(bytes.subarray(0, width))} . ${protocol} . ${number}`;
}

function number(bytes: Uint8Array, at = 0): number {
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(
    at,
    new Uint8Array(new Uint16Array([1]).buffer)[0] === 1,
  );
}

/** Key and data of an element, as nft would print them were its types less bare. */
function element(
  set: ElementSet,
  list: ElementList,
  i: number,
  family: Family,
  classes: ReadonlyMap<number, string>,
): string {
  const [key, data] = [list.key(i), list.dataWidth > 0 ? list.data(i) : undefined];
  const to = (text: (d: Uint8Array) => string): string => (data === undefined ? '' : ` : ${text(data)}`);
  const value = (d: Uint8Array): string => {
    const p = number(d);
    const name = { 1: 'reject', 2: 'drop' }[classOf(p)] ?? classes.get(classOf(p)) ?? `class ${classOf(p)}`;
    return idOf(p) === 0 ? name : `${name}, id ${idOf(p)}`;
  };
  const width = family === 4 ? 4 : 16;
  const endpoint = (d: Uint8Array): string => `${address(d.subarray(0, width))} . ${port(d.subarray(width))}`;
  switch (set) {
    case 'frontends':
    case 'nodeports':
      return frontend(key, family) + to(value);
    case 'endpoints':
      return `id ${number(key)} . ${number(key, 4)}${to(endpoint)}`;
    case 'slots':
      return `id ${number(key)} . ${number(key, 4)}${to((d) => `slot ${slotOf(number(d))}`)}`;
    case 'slot-endpoints':
      return `slot ${slotOf(number(key))} of id ${idOf(number(key))}${to(endpoint)}`;
    case 'local':
      return `id ${number(key)}${to(value)}`;
    case 'hairpin':
      return `${address(key.subarray(0, width))} . ${address(key.subarray(width))}`;
    case 'cluster-ips':
    case 'nodeport-ips':
      return address(key);
  }
}
