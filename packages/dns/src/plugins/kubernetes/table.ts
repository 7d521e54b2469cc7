import { formatIp, parseIp } from '@weft/net';
import { labelKey, type NameKey } from '../../wire/index.ts';
import type { NameAnswers, ReverseName, ServiceAnswers } from './compile.ts';

/** The name exists and has no records of its own: a zone, `svc`, or a namespace. */
export const NODATA: unique symbol = Symbol('NODATA');
/** There is no such name. */
export const NXDOMAIN: unique symbol = Symbol('NXDOMAIN');

/** A name below a Service, with the Service. */
export interface Found {
  readonly service: ServiceAnswers;
  readonly answers: NameAnswers;
}

/** The name of a pod, as asked for: whether it exists is the plugin's `pods` option to say. */
export interface PodName {
  readonly namespace: string;
  /** The address that the label spells. */
  readonly ip: string;
}

export type Lookup = typeof NODATA | typeof NXDOMAIN | Found | PodName;

const SVC = '\u0003svc';
const POD = '\u0003pod';

/** A namespace; Services of one that does not exist, or is not exposed, do not resolve. */
interface NamespaceState {
  readonly name: string;
  exists: boolean;
}

interface Served {
  readonly answers: ServiceAnswers;
  readonly namespace: NamespaceState;
}

/**
 * Told of changed answers: with the Service as it is, or was when it has gone, and as it was before; with the name of a
 * namespace below which they have changed; or with neither when all have.
 */
type TableListener = (changed: ServiceAnswers | string | undefined, before?: ServiceAnswers) => void;

/** Which names there are besides those of every cluster. */
interface NameShape {
  /** `endpoint.cluster.service`. */
  readonly multicluster: boolean;
  /** `topology-zone.pin._zone.service` and `topology-zone.prefer._zone.service`. */
  readonly zonal: boolean;
}

/** The applied plan as the server reads it: Services by name, namespaces, and reverse names by address. */
export class AnswerTable {
  /** By the two labels of a Service's name, as they stand in a NameKey. */
  readonly #services = new Map<NameKey, Served>();
  /** Namespaces by label, those that only Services speak of included. */
  readonly #namespaces = new Map<NameKey, NamespaceState>();
  /** One name is kept bare: nearly all addresses have one. */
  readonly #reverse = new Map<string, ReverseName | readonly ReverseName[]>();
  readonly #listeners = new Set<TableListener>();
  /** Seconds since the epoch of the last change: the serial of the SOA record. */
  serial: number;

  readonly #shape: NameShape;

  constructor(serial: number, shape: NameShape = { multicluster: false, zonal: false }) {
    this.serial = serial;
    this.#shape = shape;
  }

  get services(): number {
    return this.#services.size;
  }

  *allServices(): IterableIterator<ServiceAnswers> {
    for (const { answers } of this.#services.values()) yield answers;
  }

  /** The Services that resolve: those of namespaces that exist. */
  *resolvingServices(): IterableIterator<ServiceAnswers> {
    for (const { answers, namespace } of this.#services.values()) if (namespace.exists) yield answers;
  }

  addNamespace(name: string): void {
    const state = this.#namespace(name);
    if (state !== undefined) state.exists = true;
    this.#tell(name);
  }

  removeNamespace(name: string): void {
    const state = this.#namespace(name);
    if (state !== undefined) state.exists = false;
    this.#tell(name);
  }

  /** Calls back when answers have changed. Returns how to stop it. */
  onChange(listener: TableListener): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Tells that all answers have changed. */
  changedAll(): void {
    this.#tell(undefined);
  }

  #tell(changed: ServiceAnswers | string | undefined, before?: ServiceAnswers): void {
    for (const listener of this.#listeners) listener(changed, before);
  }

  #namespace(name: string): NamespaceState | undefined {
    const key = labelKey(name);
    if (key === undefined) return undefined;
    let state = this.#namespaces.get(key);
    if (state === undefined) {
      state = { name, exists: false };
      this.#namespaces.set(key, state);
    }
    return state;
  }

  /** Replaces what a Service stood for; undefined when it is new or gone. */
  replace(before: ServiceAnswers | undefined, after: ServiceAnswers | undefined): void {
    if (before !== undefined) {
      const key = serviceKey(before);
      if (after === undefined && key !== undefined) this.#services.delete(key);
      for (const name of before.reverse()) this.#forget(name);
    }
    if (after !== undefined) {
      const key = serviceKey(after);
      const namespace = this.#namespace(after.service.namespace);
      if (key !== undefined && namespace !== undefined) this.#services.set(key, { answers: after, namespace });
      for (const name of after.reverse()) this.#learn(name);
    }
    const changed = after ?? before;
    if (changed !== undefined) this.#tell(changed, before);
  }

  /** The Service of these two labels, when its namespace exists. */
  service(key: NameKey): ServiceAnswers | undefined {
    const served = this.#services.get(key);
    return served?.namespace.exists === true ? served.answers : undefined;
  }

  /** Is there a Service of these two labels, in a namespace that exists or not? */
  knowsService(key: NameKey): boolean {
    return this.#services.has(key);
  }

  *namespaces(): IterableIterator<string> {
    for (const { name, exists } of this.#namespaces.values()) if (exists) yield name;
  }

  hasNamespace(label: NameKey): boolean {
    return this.#namespaces.get(label)?.exists === true;
  }

  /** Looks a name up; `end` is where its zone starts in `key`. */
  lookup(key: NameKey, labels: readonly number[], end: number): Lookup {
    let count = labels.length;
    while (count > 0 && (labels[count - 1] as number) >= end) count -= 1;
    if (count === 0) return NODATA;
    const kindAt = labels[count - 1] as number;
    const pods = key.startsWith(POD, kindAt) && end - kindAt === 4;
    if (!pods && !(key.startsWith(SVC, kindAt) && end - kindAt === 4)) return NXDOMAIN;
    if (count === 1) return NODATA;
    const namespaceAt = labels[count - 2] as number;
    if (!pods && count > 2 && (count < 6 || this.#shape.zonal)) {
      const nameAt = labels[count - 3] as number;
      const served = this.#services.get(key.slice(nameAt, kindAt));
      if (served === undefined || !served.namespace.exists) return NXDOMAIN;
      if (count > 5) return zonal(served.answers, key, labels, count);
      if (count === 5 && this.#shape.multicluster && !hasUnderscore(key, labels))
        return found(served.answers, served.answers.endpoint(key.slice(labels[0], nameAt)));
      return below(served.answers, key, labels, count, nameAt);
    }
    const namespace = this.#namespaces.get(key.slice(namespaceAt, kindAt));
    if (namespace?.exists !== true) return NXDOMAIN;
    if (count === 2) return NODATA;
    // Longer names than `_port._proto.service` exist for nobody.
    if (count > 5) return NXDOMAIN;
    return podName(namespace.name, key.slice((labels[count - 3] as number) + 1, namespaceAt));
  }

  /** Names without zone that an address leads to: the Service of a cluster IP, else every named endpoint. */
  reverse(ip: string): readonly Uint8Array[] {
    const names = this.#namesOf(ip);
    const cluster = names.find((name) => name.cluster);
    return cluster === undefined ? names.map(({ target }) => target) : [cluster.target];
  }

  #namesOf(ip: string): readonly ReverseName[] {
    const names = this.#reverse.get(ip);
    return names === undefined ? [] : 'ip' in names ? [names] : names;
  }

  #learn(name: ReverseName): void {
    const names = this.#namesOf(name.ip);
    if (names.length === 0) this.#reverse.set(name.ip, name);
    else if (!names.some((other) => sameReverse(other, name))) this.#reverse.set(name.ip, [...names, name]);
  }

  #forget(name: ReverseName): void {
    const left = this.#namesOf(name.ip).filter((other) => !sameReverse(other, name));
    if (left.length === 0) this.#reverse.delete(name.ip);
    else this.#reverse.set(name.ip, left);
  }
}

function sameReverse(a: ReverseName, b: ReverseName): boolean {
  return a.cluster === b.cluster && Buffer.compare(a.target, b.target) === 0;
}

/** A name at or below a Service of which `count` labels come before the zone. */
function below(
  service: ServiceAnswers,
  key: NameKey,
  labels: readonly number[],
  count: number,
  nameAt: number,
): Found | typeof NXDOMAIN {
  let answers: NameAnswers | undefined;
  if (count === 3) answers = service.own;
  else if (count === 4) answers = service.endpoint(key.slice(labels[0] as number, nameAt));
  else answers = service.port(bare(key, labels[0] as number), bare(key, labels[1] as number));
  return found(service, answers);
}

function found(service: ServiceAnswers, answers: NameAnswers | undefined): Found | typeof NXDOMAIN {
  return answers === undefined || answers.empty ? NXDOMAIN : { service, answers };
}

function hasUnderscore(key: NameKey, labels: readonly number[]): boolean {
  return key[(labels[0] as number) + 1] === '_' || key[(labels[1] as number) + 1] === '_';
}

const ZONE = '\u0005_zone';
const PIN = '\u0003pin';
const PREFER = '\u0006prefer';

/** `topology-zone.pin._zone` below a Service; the name of the topology zone may have dots. */
function zonal(
  service: ServiceAnswers,
  key: NameKey,
  labels: readonly number[],
  count: number,
): Found | typeof NXDOMAIN {
  const [directive, anchor] = [labels[count - 5] as number, labels[count - 4] as number];
  const prefer = key.startsWith(PREFER, directive);
  if (!key.startsWith(ZONE, anchor) || !(prefer || key.startsWith(PIN, directive))) return NXDOMAIN;
  const zone = labels.slice(0, count - 5).map((at) => key.slice(at + 1, at + 1 + key.charCodeAt(at)));
  const answers = service.zonal(zone.join('.'), prefer);
  // The name exists, whether the zone has endpoints or not.
  return answers === undefined ? NXDOMAIN : { service, answers };
}

function serviceKey(answers: ServiceAnswers): NameKey | undefined {
  const name = labelKey(answers.service.name);
  const namespace = labelKey(answers.service.namespace);
  return name === undefined || namespace === undefined ? undefined : name + namespace;
}

/** A label's text without its underscore: `_http` and `http` name the same port. */
function bare(key: NameKey, at: number): string {
  const label = key.slice(at + 1, at + 1 + key.charCodeAt(at));
  return label.startsWith('_') ? label.slice(1) : label;
}

/** `10-244-1-5` spells an IPv4 address when it has exactly three dashes and no two in a row, else an IPv6 address. */
function podName(namespace: string, label: string): PodName | typeof NXDOMAIN {
  const dashes = label.split('-').length - 1;
  const text = label.replaceAll('-', dashes === 3 && !label.includes('--') ? '.' : ':');
  const ip = parseIp(text);
  return ip === undefined ? NXDOMAIN : { namespace, ip: formatIp(ip) };
}
