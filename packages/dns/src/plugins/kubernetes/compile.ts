import { formatIp, parseIp } from '@weft/net';
import { concat, labelKey, type NameKey, nameFromText, type Rr, rdata, record, TYPE } from '../../wire/index.ts';
import { authoritative, type Reply } from '../../server/handler.ts';
import { NO_PORT, type SlimEndpoint, type SlimPort, type SlimService, type SlimSlice } from './objects.ts';

/**
 * One thing a name stands for: an address (or host name) with a port, reached by `label` below the Service, which is one
 * label as in a NameKey, or two for an endpoint of another cluster.
 */
type Visit = (host: string, port: number, label: NameKey | undefined) => void;

interface Hosts {
  readonly a: readonly Rr[];
  readonly aaaa: readonly Rr[];
  /** The whole replies to A and AAAA; undefined where there are no addresses, or an alias comes first. */
  readonly replyA: Reply | undefined;
  readonly replyAaaa: Reply | undefined;
  /** Targets of CNAME records: an ExternalName, or the hosts of an FQDN slice. */
  readonly names: readonly Uint8Array[];
}

/** A SRV record's target before the zone is known. */
export interface SrvTarget {
  readonly label: NameKey | undefined;
  readonly port: number;
}

/** Names whose records are kept: those that were last made, in the order in which they were. */
const RECENT = 1024;
const recent: (NameAnswers | undefined)[] = Array.from({ length: RECENT });
let oldest = 0;

function keepRecent(answers: NameAnswers): void {
  recent[oldest]?.forget();
  recent[oldest] = answers;
  oldest = (oldest + 1) % RECENT;
}

/** Answers for one name. Records are made when they are asked for, and kept for a while. */
export class NameAnswers {
  /** Calls for everything that stands behind the name. */
  readonly each: (visit: Visit) => void;
  readonly #ttl: number;
  #hosts: Hosts | undefined;

  constructor(each: (visit: Visit) => void, ttl: number) {
    this.each = each;
    this.#ttl = ttl;
  }

  get hosts(): Hosts {
    if (this.#hosts === undefined) {
      this.#hosts = this.#collect();
      keepRecent(this);
    }
    return this.#hosts;
  }

  /** Gives the memory of the records back; they are made again when they are asked for. */
  forget(): void {
    this.#hosts = undefined;
  }

  /** True when nothing stands behind the name: it does not exist then. */
  get empty(): boolean {
    const { a, aaaa, names } = this.hosts;
    return a.length + aaaa.length + names.length === 0;
  }

  /** Every address with every port; ports that do not exist are left out but counted for the weight. */
  srv(): { targets: { label: NameKey | undefined; port: number; address: Uint8Array }[]; weight: number } {
    const targets: { label: NameKey | undefined; port: number; address: Uint8Array }[] = [];
    let all = 0;
    this.each((host, port, label) => {
      const ip = parseIp(host);
      if (ip === undefined) return;
      all += 1;
      if (port !== NO_PORT) targets.push({ label, port, address: ip.bytes });
    });
    return { targets, weight: Math.max(1, Math.floor(100 / Math.max(1, all))) };
  }

  #collect(): Hosts {
    const a: Rr[] = [];
    const aaaa: Rr[] = [];
    const names: Uint8Array[] = [];
    const seen = new Set<string>();
    this.each((host) => {
      if (seen.has(host)) return;
      seen.add(host);
      const ip = parseIp(host);
      if (ip === undefined) {
        const name = wireName(host);
        if (name !== undefined) names.push(name);
      } else if (ip.family === 4) a.push(record(undefined, TYPE.A, this.#ttl, ip.bytes));
      else aaaa.push(record(undefined, TYPE.AAAA, this.#ttl, ip.bytes));
    });
    const reply = (answers: readonly Rr[]): Reply | undefined =>
      answers.length === 0 || names.length > 0 ? undefined : authoritative('kubernetes', { answers, own: true });
    return { a, aaaa, names, replyA: reply(a), replyAaaa: reply(aaaa) };
  }
}

const NOTHING = new NameAnswers(() => {}, 0);

function wireName(text: string): Uint8Array | undefined {
  try {
    return nameFromText(text);
  } catch {
    // The API server validates host names; one that slipped through is one name that does not resolve.
    return undefined;
  }
}

/** A reverse record: the address, and the name it leads to without the zone. */
export interface ReverseName {
  /** Canonical text of the address. */
  readonly ip: string;
  /** Wire form without zone and root: `web-0.nginx.default.svc`. */
  readonly target: Uint8Array;
  /** Cluster IPs win over endpoints. */
  readonly cluster: boolean;
}

export interface CompileOptions {
  /** Seconds. */
  readonly ttl: number;
  /** Name endpoints after their pods when they have no hostname. */
  readonly podNames: boolean;
  /** A ClusterIP Service without ready endpoints does not exist. */
  readonly ignoreEmpty: boolean;
  /** Services of several clusters: endpoints are named `endpoint.cluster`. */
  readonly multicluster: boolean;
}

/** All answers below one Service: the value of its entry in the plan. */
export class ServiceAnswers {
  readonly service: SlimService;
  readonly slices: readonly SlimSlice[];
  /** Answers for the Service's own name. */
  readonly own: NameAnswers;
  readonly #options: CompileOptions;
  #ports: Map<NameKey, NameAnswers> | undefined;
  #endpoints: Map<NameKey, NameAnswers> | undefined;
  /** By topology zone, those that have endpoints. */
  #zones: Map<string, NameAnswers> | undefined;

  constructor(service: SlimService, slices: readonly SlimSlice[], options: CompileOptions) {
    this.service = service;
    this.slices = slices;
    this.#options = options;
    this.own = new NameAnswers((visit) => this.#visit(() => true, visit), options.ttl);
  }

  same(other: ServiceAnswers): boolean {
    return (
      this.service === other.service &&
      this.slices.length === other.slices.length &&
      this.slices.every((slice, i) => slice === other.slices[i])
    );
  }

  /** Answers for `_port._proto` below the Service; `key` is the two labels without underscores. */
  port(port: string, protocol: string): NameAnswers | undefined {
    if (this.service.kind === 'external') return undefined;
    this.#ports ??= new Map();
    const key = `${port}/${protocol}`;
    let answers = this.#ports.get(key);
    if (answers === undefined) {
      const wanted = (p: SlimPort): boolean => p.port !== NO_PORT && p.name === port && p.protocol === protocol;
      // Only ports that exist are kept: made-up names must not fill the memory.
      if (!this.#allPorts().some((list) => list.some(wanted))) return undefined;
      answers = new NameAnswers((visit) => this.#visit(wanted, visit), this.#options.ttl);
      this.#ports.set(key, answers);
    }
    return answers;
  }

  /** Answers for an endpoint below the Service; `key` is the label as in a NameKey. */
  endpoint(key: NameKey): NameAnswers | undefined {
    if (this.service.kind === 'external') return undefined;
    this.#endpoints ??= this.#byLabel();
    return this.#endpoints.get(key);
  }

  /**
   * Answers for the endpoints in a topology zone; only headless Services have such names. When the zone has none, nothing
   * stands behind the name, or with `prefer` all endpoints do.
   */
  zonal(zone: string, prefer: boolean): NameAnswers | undefined {
    if (this.service.kind !== 'headless') return undefined;
    this.#zones ??= this.#byZone();
    return this.#zones.get(zone) ?? (prefer ? this.own : NOTHING);
  }

  #byZone(): Map<string, NameAnswers> {
    const zones = new Set(this.slices.flatMap(({ endpoints }) => endpoints.map(({ zone }) => zone ?? '')));
    zones.delete('');
    const each =
      (zone: string) =>
      (visit: Visit): void => {
        for (const slice of this.slices) {
          const local = slice.endpoints.filter((endpoint) => endpoint.zone === zone);
          this.#visitSlice(slice, local, () => true, visit);
        }
      };
    return new Map([...zones].map((zone) => [zone, new NameAnswers(each(zone), this.#options.ttl)]));
  }

  /** All endpoints by their labels as in a NameKey. */
  endpoints(): Iterable<[NameKey, NameAnswers]> {
    this.#endpoints ??= this.#byLabel();
    return this.#endpoints;
  }

  /** The ports that have SRV records of their own, each once. */
  namedPorts(): { name: string; protocol: string }[] {
    const named = this.#allPorts()
      .flat()
      .filter(({ name, port }) => name !== '' && port !== NO_PORT);
    return [...new Map(named.map((port) => [`${port.name}/${port.protocol}`, port])).values()];
  }

  /** Reverse records that this Service gives rise to. */
  reverse(): ReverseName[] {
    const { service } = this;
    // Addresses lead back to names of this cluster.
    if (service.kind === 'external' || this.#options.multicluster) return [];
    const base = relativeName(service);
    const out: ReverseName[] = [];
    for (const ip of service.ips) {
      const canonical = canonicalIp(ip);
      if (canonical !== undefined) out.push({ ip: canonical, target: base, cluster: true });
    }
    for (const slice of this.slices) {
      if (!slice.named) continue;
      for (const endpoint of slice.endpoints) {
        // Only endpoints with a name of their own lead back to it (Kubernetes DNS specification 2.4.3).
        const label = endpoint.hostname === '' ? undefined : labelKey(endpoint.hostname);
        const canonical = label === undefined ? undefined : canonicalIp(endpoint.address);
        if (label === undefined || canonical === undefined) continue;
        out.push({ ip: canonical, target: concat([Buffer.from(label, 'latin1'), base]), cluster: false });
      }
    }
    return out;
  }

  /**
   * The label of an endpoint: its hostname, its pod's name when asked for, or its address with dashes; and the label of
   * its cluster when there are several. Undefined when that is no label.
   */
  #label(endpoint: SlimEndpoint, slice: SlimSlice): NameKey | undefined {
    const label = labelKey(this.#labelText(endpoint));
    if (!this.#options.multicluster || label === undefined) return label;
    const cluster = labelKey(slice.cluster ?? '');
    return cluster === undefined ? undefined : label + cluster;
  }

  #labelText(endpoint: SlimEndpoint): string {
    if (endpoint.hostname !== '') return endpoint.hostname;
    if (this.#options.podNames && endpoint.pod !== '') return endpoint.pod;
    return dashedAddress(endpoint.address);
  }

  #allPorts(): (readonly SlimPort[])[] {
    return this.service.kind === 'headless' ? this.slices.map((slice) => slice.ports) : [this.service.ports];
  }

  #visit(wanted: (port: SlimPort) => boolean, visit: Visit): void {
    const { service, slices } = this;
    if (service.kind === 'external') {
      // An address is no name: such a Service does not resolve.
      if (parseIp(service.externalName) === undefined) visit(service.externalName, NO_PORT, undefined);
      return;
    }
    if (service.kind === 'headless') {
      for (const slice of slices) this.#visitSlice(slice, slice.endpoints, wanted, visit);
      return;
    }
    if (this.#options.ignoreEmpty && !slices.some((slice) => slice.size > 0)) return;
    for (const port of service.ports) {
      if (!wanted(port)) continue;
      for (const ip of service.ips) visit(ip, port.port, undefined);
    }
  }

  #visitSlice(
    slice: SlimSlice,
    endpoints: readonly SlimEndpoint[],
    wanted: (port: SlimPort) => boolean,
    visit: Visit,
  ): void {
    for (const endpoint of endpoints) {
      for (const port of slice.ports) {
        if (wanted(port)) visit(endpoint.address, port.port, this.#label(endpoint, slice));
      }
    }
  }

  #byLabel(): Map<NameKey, NameAnswers> {
    const groups = new Map<NameKey, [SlimSlice, SlimEndpoint][]>();
    for (const slice of this.slices) {
      for (const endpoint of slice.endpoints) {
        const key = this.#label(endpoint, slice);
        if (key === undefined) continue;
        const group = groups.get(key);
        if (group === undefined) groups.set(key, [[slice, endpoint]]);
        else group.push([slice, endpoint]);
      }
    }
    const out = new Map<NameKey, NameAnswers>();
    for (const [key, group] of groups) {
      const each = (visit: Visit): void => {
        for (const [slice, endpoint] of group) this.#visitSlice(slice, [endpoint], () => true, visit);
      };
      out.set(key, new NameAnswers(each, this.#options.ttl));
    }
    return out;
  }
}

/** `10.244.1.5` as a label: `10-244-1-5`. An IPv6 address that ends in `::` gets a zero (CoreDNS). */
function dashedAddress(address: string): string {
  const label = address.replace(/[.:]/g, '-');
  return label.endsWith('-') ? `${label}0` : label;
}

/** `web.default.svc` in wire form, without the root. */
export function relativeName(service: SlimService): Uint8Array {
  const labels = [service.name, service.namespace, 'svc'].map((label) => labelKey(label) ?? '');
  return Buffer.from(labels.join(''), 'latin1');
}

function canonicalIp(text: string): string | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : formatIp(ip);
}

/** SRV data of a target in a zone. */
export function srvData(
  service: SlimService,
  target: SrvTarget,
  weight: number,
  zone: Uint8Array,
): { name: Uint8Array; data: Uint8Array } {
  const name = concat([Buffer.from(target.label ?? '', 'latin1'), relativeName(service), zone]);
  return { name, data: rdata.srv(0, weight, target.port, name) };
}
