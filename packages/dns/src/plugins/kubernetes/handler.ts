import type { Provenance } from '@weft/plan';
import {
  andThen,
  authoritative,
  failure,
  type Handler,
  type Outcome,
  type Reply,
  type Serve,
} from '../../server/handler.ts';
import type { Request } from '../../server/request.ts';
import { ZoneMap, ZoneSet } from '../../server/zoneset.ts';
import {
  concat,
  keyFromText,
  labelOffsets,
  type NameKey,
  nameFromText,
  nameKey,
  RCODE,
  type Rr,
  rdata,
  record,
  TYPE,
} from '../../wire/index.ts';
import { reverseAddress } from '../../wire/reverse.ts';
import { type NameAnswers, srvData } from './compile.ts';
import { addressKey, addressOf, once, sameBytes, soaRecord, targetsOf } from './records.ts';
import { type Found, type Lookup, NODATA, NXDOMAIN, type PodName } from './table.ts';
import type { ClusterView } from './view.ts';

export interface KubernetesOptions {
  readonly zones: readonly string[];
  /** The zone that reverse names lead to. */
  readonly primary: string;
  /** Seconds. */
  readonly ttl: number;
  readonly pods: 'disabled' | 'insecure' | 'verified';
  /** Zones in which names that do not exist go on to the next plugin; empty for all, undefined for none. */
  readonly fallthrough: readonly string[] | undefined;
  readonly lookup: (name: Uint8Array, type: number, request: Request) => Outcome | Promise<Outcome>;
  readonly localAddresses: () => readonly Uint8Array[];
}

/** Version of the Kubernetes DNS specification that the answers follow. */
const SCHEMA_VERSION = '1.1.0';
const SCHEMA_TTL = 28_800;
const DNS_VERSION = keyFromText('dns-version.');
const DEFAULT_NS = nameFromText('ns.dns.').subarray(0, -1);
const NS_KEY: NameKey = '\u0002ns\u0003dns';
const MAX_CHAIN = 8;

interface Zone {
  readonly wire: Uint8Array;
  readonly key: NameKey;
  /** Replies without records by response code, good for `serial`. */
  readonly empty: Map<number, Reply>;
  serial: number;
}

/** Answers names of the cluster from the compiled table. */
export class KubernetesHandler implements Handler {
  readonly name = 'kubernetes';
  /** Set when the server starts. */
  view: ClusterView | undefined;
  readonly #options: KubernetesOptions;
  readonly #zones = new ZoneMap<Zone>();
  readonly #primary: Uint8Array;
  readonly #fallthrough: ZoneSet | undefined;
  readonly #replies = new WeakMap<NameAnswers, { a?: Reply; aaaa?: Reply }>();

  constructor(options: KubernetesOptions) {
    this.#options = options;
    for (const text of options.zones) {
      const wire = nameFromText(text);
      this.#zones.set(text, { wire, key: nameKey(wire), empty: new Map(), serial: 0 });
    }
    this.#primary = nameFromText(options.primary);
    const { fallthrough } = options;
    this.#fallthrough =
      fallthrough === undefined ? undefined : new ZoneSet(fallthrough.length === 0 ? ['.'] : fallthrough);
  }

  owns(key: NameKey, labels: readonly number[]): boolean {
    const match = this.#zones.match(key, labels);
    if (match === undefined) return false;
    if (this.#fallthrough?.has(key, labels) !== true) return true;
    const ip = reverseAddress(key, labels);
    if (ip !== undefined) return (this.view?.table.reverse(ip).length ?? 0) > 0;
    return this.#lookup(key, labels, match.offset) !== NXDOMAIN;
  }

  serve(request: Request, next: Serve): Outcome | Promise<Outcome> {
    const { query } = request;
    const match = this.#zones.match(query.key, query.labels);
    if (match === undefined) return next(request);
    const zone = match.value;
    const end = match.offset;
    switch (query.type) {
      case TYPE.A:
      case TYPE.AAAA:
        return this.#address(request, next, zone, end);
      case TYPE.TXT:
        return this.#text(request, next, zone, end);
      case TYPE.SRV:
        return this.#service(request, next, zone, end);
      case TYPE.PTR:
        return this.#pointer(request, next, zone, end);
      case TYPE.CNAME:
        return this.#alias(request, next, zone, end);
      case TYPE.SOA:
        if (end === 0) return authoritative(this.name, { answers: [this.#soa(request, end)], own: true });
        return this.#empty(request, RCODE.NOERROR, zone, end);
      case TYPE.NS:
        if (end === 0) return this.#nameServers(request, zone, end);
        break;
      case TYPE.AXFR:
      case TYPE.IXFR:
        return failure(this.name, RCODE.REFUSED);
      default:
    }
    const found = this.#lookup(query.key, query.labels, end);
    return found === NXDOMAIN
      ? this.#missing(request, next, zone, end)
      : this.#empty(request, RCODE.NOERROR, zone, end);
  }

  /** The objects behind the answers to a name. */
  explain(key: NameKey): Provenance[] {
    const labels = labelOffsets(key);
    const match = this.#zones.match(key, labels);
    const { view } = this;
    if (match === undefined || view === undefined) return [];
    const found = this.#lookup(key, labels, match.offset);
    if (found === NODATA || found === NXDOMAIN || !('service' in found)) return [];
    return view.causes(found.service);
  }

  #lookup(key: NameKey, labels: readonly number[], end: number): Lookup {
    const table = this.view?.table;
    if (table === undefined) return NXDOMAIN;
    const found = table.lookup(key, labels, end);
    if (found === NODATA || found === NXDOMAIN || 'service' in found) return found;
    return this.#podExists(found) ? found : NXDOMAIN;
  }

  #podExists(pod: PodName): boolean {
    const { pods } = this.#options;
    return pods === 'insecure' || (pods === 'verified' && (this.view?.hasPod(pod.namespace, pod.ip) ?? false));
  }

  #address(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    const { query } = request;
    if (end === NS_KEY.length && query.key.startsWith(NS_KEY)) return this.#defaultNs(request, zone, end);
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(request, next, zone, end);
    if (found === NODATA) return this.#empty(request, RCODE.NOERROR, zone, end);
    if (!('service' in found)) {
      const bytes = addressOf(found.ip);
      if ((bytes.length === 4) !== (query.type === TYPE.A)) return this.#empty(request, RCODE.NOERROR, zone, end);
      const answers = [record(undefined, query.type, this.#options.ttl, bytes)];
      return authoritative(this.name, { answers, own: true });
    }
    const { hosts } = found.answers;
    if (hosts.names.length > 0) return this.#follow(request, zone, end, found);
    const records = query.type === TYPE.A ? hosts.a : hosts.aaaa;
    if (records.length === 0) return this.#empty(request, RCODE.NOERROR, zone, end);
    // Replies to addresses are asked for again and again: one object each while the name is unchanged.
    let replies = this.#replies.get(found.answers);
    if (replies === undefined) {
      replies = {};
      this.#replies.set(found.answers, replies);
    }
    const slot = query.type === TYPE.A ? 'a' : 'aaaa';
    replies[slot] ??= authoritative(this.name, { answers: records, own: true });
    return replies[slot];
  }

  /** An alias: inside the zone we go on ourselves, outside the server asks itself. */
  #follow(request: Request, zone: Zone, end: number, found: Found): Outcome | Promise<Outcome> {
    const records: Rr[] = [];
    const target = this.#chase(request, zone, found, undefined, records, new Set([request.query.key]));
    if (target === undefined) {
      if (records.length === 0) return this.#empty(request, RCODE.NOERROR, zone, end);
      return authoritative(this.name, { answers: records, own: true });
    }
    return andThen(this.#options.lookup(target, request.query.type, request), (outcome) => {
      const more = outcome.kind === 'reply' ? outcome.answers.map((rr) => ({ ...rr, name: rr.name ?? target })) : [];
      return authoritative(this.name, { answers: [...records, ...more], own: true });
    });
  }

  /**
   * Follows aliases inside the zone and collects the records. Returns the name outside the zone at which the chain
   * leaves it. A chain that leads nowhere or in a circle leaves nothing.
   */
  #chase(
    request: Request,
    zone: Zone,
    found: Found,
    owner: Uint8Array | undefined,
    records: Rr[],
    seen: Set<NameKey>,
  ): Uint8Array | undefined {
    const target = found.answers.hosts.names[0] as Uint8Array;
    const key = nameKey(target);
    const start = records.length;
    records.push(record(owner, TYPE.CNAME, this.#options.ttl, target));
    const labels = labelOffsets(key);
    const end = key.length - zone.key.length;
    const inside = end >= 0 && key.endsWith(zone.key) && (end === 0 || labels.includes(end));
    if (!inside) return target;
    const next = seen.has(key) || seen.size >= MAX_CHAIN ? NXDOMAIN : this.#lookup(key, labels, end);
    seen.add(key);
    if (next === NXDOMAIN || next === NODATA || !('service' in next)) {
      records.length = start;
      if (typeof next === 'object' && 'ip' in next) {
        const bytes = addressOf(next.ip);
        if ((bytes.length === 4) === (request.query.type === TYPE.A)) {
          records.push(record(owner, TYPE.CNAME, this.#options.ttl, target));
          records.push(record(target, request.query.type, this.#options.ttl, bytes));
        }
      }
      if (records.length === start) records.length = 0;
      return undefined;
    }
    if (next.answers.hosts.names.length > 0) return this.#chase(request, zone, next, target, records, seen);
    const addresses = request.query.type === TYPE.A ? next.answers.hosts.a : next.answers.hosts.aaaa;
    if (addresses.length === 0) records.length = 0;
    for (const rr of addresses) records.push({ ...rr, name: target });
    return undefined;
  }

  #text(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    const { query } = request;
    if (end === DNS_VERSION.length - 1 && query.key.startsWith(DNS_VERSION.slice(0, -1))) {
      const answers = [record(undefined, TYPE.TXT, SCHEMA_TTL, rdata.txt(SCHEMA_VERSION))];
      return authoritative(this.name, { answers, own: true });
    }
    // Names without records of their own, the zone's apex included, do not exist for TXT (as in CoreDNS).
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN || found === NODATA) return this.#missing(request, next, zone, end);
    return this.#empty(request, RCODE.NOERROR, zone, end);
  }

  #service(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    const { query } = request;
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(request, next, zone, end);
    if (found === NODATA || !('service' in found)) return this.#empty(request, RCODE.NOERROR, zone, end);
    const { targets, weight } = found.answers.srv();
    const answers: Rr[] = [];
    const additional: Rr[] = [];
    const seen = new Set<string>();
    for (const target of targets) {
      const { name, data } = srvData(found.service.service, target, weight, zone.wire);
      if (once(seen, `${target.label} ${target.port}`)) {
        answers.push(record(undefined, TYPE.SRV, this.#options.ttl, data));
      }
      if (once(seen, `${target.label} ${target.address.join('.')}`)) {
        const type = target.address.length === 4 ? TYPE.A : TYPE.AAAA;
        additional.push(record(name, type, this.#options.ttl, target.address));
      }
    }
    if (answers.length === 0) return this.#empty(request, RCODE.NOERROR, zone, end);
    return authoritative(this.name, { answers, additional, own: true });
  }

  #pointer(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    const { query } = request;
    const ip = reverseAddress(query.key, query.labels);
    if (ip === undefined) {
      const found = this.#lookup(query.key, query.labels, end);
      return found === NXDOMAIN
        ? this.#missing(request, next, zone, end)
        : this.#empty(request, RCODE.NOERROR, zone, end);
    }
    const targets = this.view?.table.reverse(ip) ?? [];
    if (targets.length === 0) return this.#missing(request, next, zone, end);
    const answers = targets.map((target) =>
      record(undefined, TYPE.PTR, this.#options.ttl, concat([target, this.#primary])),
    );
    return authoritative(this.name, { answers, own: true });
  }

  #alias(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    const { query } = request;
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(request, next, zone, end);
    const target = found !== NODATA && 'service' in found ? found.answers.hosts.names[0] : undefined;
    if (target === undefined) return this.#empty(request, RCODE.NOERROR, zone, end);
    return authoritative(this.name, { answers: [record(undefined, TYPE.CNAME, this.#options.ttl, target)], own: true });
  }

  /** The Services that lead to this server, or the server's own addresses when there is none. */
  #nameServerHosts(zone: Zone): { name: Uint8Array; address: Uint8Array }[] {
    const local = this.#options.localAddresses();
    const texts = new Set(local.map((bytes) => addressKey(bytes)));
    const out: { name: Uint8Array; address: Uint8Array }[] = [];
    let serving = false;
    for (const answers of this.view?.table.allServices() ?? []) {
      const endpoints = answers.slices.flatMap((slice) => slice.endpoints);
      if (!endpoints.some((endpoint) => texts.has(addressKey(addressOf(endpoint.address))))) continue;
      serving = true;
      for (const { label, address } of targetsOf(answers.own)) {
        out.push({ name: srvData(answers.service, { label, port: 0 }, 0, zone.wire).name, address });
      }
    }
    if (serving) return out;
    const name = concat([DEFAULT_NS, zone.wire]);
    return local.map((address) => ({ name, address }));
  }

  #nameServers(request: Request, zone: Zone, end: number): Outcome {
    const hosts = this.#nameServerHosts(zone);
    const seen = new Set<string>();
    const answers = hosts
      .filter(({ name }) => once(seen, nameKey(name)))
      .map(({ name }) => record(undefined, TYPE.NS, this.#options.ttl, name));
    if (answers.length === 0) return this.#empty(request, RCODE.NOERROR, zone, end);
    const additional = hosts.map(({ name, address }) =>
      record(name, address.length === 4 ? TYPE.A : TYPE.AAAA, this.#options.ttl, address),
    );
    return authoritative(this.name, { answers, additional, own: true });
  }

  #defaultNs(request: Request, zone: Zone, end: number): Outcome {
    const size = request.query.type === TYPE.A ? 4 : 16;
    const answers = this.#nameServerHosts(zone)
      .filter(({ address }) => address.length === size)
      .map(({ address }) => record(undefined, request.query.type, this.#options.ttl, address));
    if (answers.length === 0) return this.#empty(request, RCODE.NOERROR, zone, end);
    return authoritative(this.name, { answers, own: true });
  }

  #soa(request: Request, end: number): Rr {
    return soaRecord(request.query.qname.subarray(end), this.#options.ttl, this.view?.table.serial ?? 0);
  }

  /** No records: the SOA record says for how long to believe it. It keeps the case of the question. */
  #empty(request: Request, rcode: number, zone: Zone, end: number): Reply {
    const serial = this.view?.table.serial ?? 0;
    const tail = request.query.qname.subarray(end);
    const make = (): Reply => authoritative(this.name, { rcode, authority: [this.#soa(request, end)], own: true });
    if (!sameBytes(tail, zone.wire)) return make();
    // Search paths make most queries end here, so these replies are kept until the cluster changes.
    if (zone.serial !== serial) zone.empty.clear();
    zone.serial = serial;
    let reply = zone.empty.get(rcode);
    if (reply === undefined) {
      reply = make();
      zone.empty.set(rcode, reply);
    }
    return reply;
  }

  /** A name that does not exist: to the next plugin, or NXDOMAIN; SERVFAIL while we cannot know yet. */
  #missing(request: Request, next: Serve, zone: Zone, end: number): Outcome | Promise<Outcome> {
    if (this.#fallthrough?.has(request.query.key, request.query.labels) === true) return next(request);
    return this.#empty(request, this.view?.ready === true ? RCODE.NXDOMAIN : RCODE.SERVFAIL, zone, end);
  }
}
