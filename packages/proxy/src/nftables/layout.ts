import { createHash } from 'node:crypto';
import type { DataType, NftFamily, SetSpec } from '@weft/kernel';
import { type Family, formatPrefix, type Prefix } from '@weft/net';
import type { FamilyConfig } from '../config.ts';

/** Goes up with every change of the tables, chains or rules that an older agent could not continue from. */
const LAYOUT_VERSION = 1;

/** Name of the table in both families. */
export const TABLE = 'weft-services';

export function nftFamily(family: Family): NftFamily {
  return family === 4 ? 'ip' : 'ip6';
}

/** Comment of the table: says what it is and whether this program, so configured, can take it over. */
export function tableComment(config: FamilyConfig): string {
  const text = JSON.stringify(config, (_key, value: unknown) =>
    typeof value === 'object' && value !== null && 'ip' in value && 'length' in value
      ? formatPrefix(value as Prefix)
      : value,
  );
  const digest = createHash('sha256').update(text).digest('hex').slice(0, 12);
  return `Kubernetes Services by Weft; layout ${LAYOUT_VERSION} ${digest}`;
}

// ---- the packed value: class << 20 | id, or slot << 20 | id

/** Largest service id. */
export const MAX_ID = 0xfffff;
/** Largest class number. Classes and slots share the high bits and must not meet. */
export const MAX_CLASS = 0x7ff;
/** Largest slot number of an affinity Service. */
export const MAX_SLOT = 0x7ff;
export const CLASS_REJECT = 1;
export const CLASS_DROP = 2;
export const FIRST_CLASS = 3;
export const ID_MASK = 0x000fffff;
export const CLASS_MASK = 0xfff00000;
/** What a frontend holds that refuses, and one that drops. */
export const P_REJECT = CLASS_REJECT << 20;
export const P_DROP = CLASS_DROP << 20;

export function packClass(classNumber: number, id: number): number {
  return (classNumber << 20) | id;
}

export function classOf(p: number): number {
  return p >>> 20;
}

export function idOf(p: number): number {
  return p & ID_MASK;
}

/** Value of `slots` and `affinity`, key of `slot-endpoints`. */
export function packSlot(slot: number, id: number): number {
  return (((0x800 | slot) << 20) | id) >>> 0;
}

export function slotOf(p: number): number {
  return (p >>> 20) & MAX_SLOT;
}

/**
 * What a class's chain does: `c` ClusterIP; `x` external frontend of the Cluster policy; `n` no masquerade; `l` the
 * endpoints on this node; `e` external frontend of the Local policy.
 */
export type ClassKind = 'c' | 'x' | 'l' | 'e';

/** Identity of a class: kind, endpoint count, affinity seconds. Also the name of its chain. */
export function className(kind: ClassKind | 'n', endpoints: number, affinity: number): string {
  return affinity > 0 ? `${kind}-${endpoints}-a${affinity}` : `${kind}-${endpoints}`;
}

export function parseClassName(name: string): { kind: ClassKind; endpoints: number; affinity: number } | undefined {
  const match = /^([cxle])-([1-9][0-9]*)(?:-a([1-9][0-9]*))?$/.exec(name);
  if (match === null) return undefined;
  return { kind: match[1] as ClassKind, endpoints: Number(match[2]), affinity: Number(match[3] ?? 0) };
}

// ---- maps and sets

/** The maps and sets whose elements follow the plan, in the order in which additions are safe. */
export const ELEMENT_SETS = [
  'endpoints',
  'slot-endpoints',
  'slots',
  'local',
  'hairpin',
  'cluster-ips',
  'nodeport-ips',
  'nodeports',
  'frontends',
] as const;
export type ElementSet = (typeof ELEMENT_SETS)[number];

/** Bytes of key and data of each, fields padded to 4. */
export function widths(set: ElementSet, family: Family): { key: number; data: number } {
  const address = family === 4 ? 4 : 16;
  switch (set) {
    case 'endpoints':
      return { key: 8, data: address + 4 };
    case 'slots':
      return { key: 8, data: 4 };
    case 'slot-endpoints':
      return { key: 4, data: address + 4 };
    case 'local':
      return { key: 4, data: 4 };
    case 'hairpin':
      return { key: 2 * address, data: 0 };
    case 'cluster-ips':
    case 'nodeport-ips':
      return { key: address, data: 0 };
    case 'nodeports':
      return { key: 8, data: 4 };
    case 'frontends':
      return { key: address + 8, data: 4 };
  }
}

/** Clients remembered at most, over all affinity Services. A full map costs affinity, never a connection. */
const AFFINITY_SIZE = 1_048_576;
const AFFINITY_TIMEOUT_MS = 3 * 3600 * 1000;

/** Declarations of every map and set of the table that is there from the start. */
export function setSpecs(config: FamilyConfig): SetSpec[] {
  const family = nftFamily(config.family);
  const address: DataType = config.family === 4 ? 'ipv4_addr' : 'ipv6_addr';
  const spec = (name: string, rest: Omit<SetSpec, 'family' | 'table' | 'name'>): SetSpec => ({
    family,
    table: TABLE,
    name,
    ...rest,
  });
  const frontend: readonly DataType[] = [address, 'inet_proto', 'inet_service'];
  const endpoint: readonly DataType[] = [address, 'inet_service'];
  return [
    spec('frontends', { key: frontend, data: 'classid' }),
    spec('nodeports', { key: ['inet_proto', 'inet_service'], data: 'classid' }),
    spec('classes', { key: 'classid', data: 'verdict' }),
    spec('local', { key: 'classid', data: 'classid' }),
    // Not `classes`: its chains are reached from chains of `classes`, and the kernel would see a loop.
    spec('local-classes', { key: 'classid', data: 'verdict' }),
    spec('endpoints', { key: ['classid', 'mark'], data: endpoint }),
    spec('slots', { key: ['classid', 'mark'], data: 'classid' }),
    spec('slot-endpoints', { key: 'classid', data: endpoint }),
    spec('affinity', {
      key: ['classid', address],
      data: 'classid',
      flags: { dynamic: true, timeout: true },
      timeout: AFFINITY_TIMEOUT_MS,
      size: AFFINITY_SIZE,
    }),
    spec('hairpin', { key: [address, address] }),
    spec('cluster-ips', { key: address }),
    spec('nodeport-ips', { key: address }),
    spec('firewall', { key: frontend, data: 'verdict' }),
    ...blockSets(config).map(({ name }) => spec(name, { key: address, flags: { interval: true } })),
  ];
}

/** Interval sets filled from the configuration: only where one comparison cannot say it. */
export function blockSets(config: FamilyConfig): { name: string; blocks: readonly Prefix[] }[] {
  const out: { name: string; blocks: readonly Prefix[] }[] = [];
  if (config.detector.by === 'cidr' && config.detector.cidrs.length > 1) {
    out.push({ name: 'pod-blocks', blocks: config.detector.cidrs });
  }
  if (config.nodePorts.cidrs.length > 0) out.push({ name: 'nodeport-blocks', blocks: config.nodePorts.cidrs });
  return out;
}
