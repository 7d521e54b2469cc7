import type { Provenance } from '@weft/plan';
import {
  type AnswerSource,
  andThen,
  authoritative,
  failure,
  type ExternalService,
  type ExternalSource,
  type Handler,
  type NameSource,
  type Outcome,
  type Reply,
  type Serve,
  type TransferSource,
} from '../../server/handler.ts';
import type { Request } from '../../server/request.ts';
import { ZoneMap, ZoneSet } from '../../server/zoneset.ts';
import {
  concat,
  keyFromText,
  keyToText,
  labelOffsets,
  type NameKey,
  nameFromText,
  nameKey,
  type Query,
  RCODE,
  type Rr,
  rdata,
  record,
  TYPE,
} from '../../wire/index.ts';
import { reverseAddress } from '../../wire/reverse.ts';
import { followAlias } from './alias.ts';
import { type NameAnswers, relativeName, type ServiceAnswers, srvData } from './compile.ts';
import { KeptAnswers } from './kept.ts';
import { describeName, describePod } from './describe.ts';
import { nameServers } from './nameservers.ts';
import { addressOf, endsWith, once, soaRecord } from './records.ts';
import { type Found, type Lookup, NODATA, NXDOMAIN, type PodName } from './table.ts';
import type { ClusterView } from './view.ts';
import { serviceRecords } from './zone.ts';

export interface KubernetesOptions {
  readonly zones: readonly string[];
  /** The zone that reverse names lead to. */
  readonly primary: string;
  /** Seconds. */
  readonly ttl: number;
  readonly pods: 'disabled' | 'insecure' | 'verified';
  /** Whose pods `verified` means, and who asks. Default: those of the handler's own view. */
  readonly podView?: () => ClusterView | undefined;
  /** Names that the zones have besides those of every cluster. */
  readonly shape: { readonly multicluster: boolean; readonly zonal: boolean };
  /** Zones in which names that do not exist go on to the next plugin; empty for all, undefined for none. */
  readonly fallthrough: readonly string[] | undefined;
  readonly lookup: (name: Uint8Array, type: number, request: Request) => Outcome | Promise<Outcome>;
  readonly localAddresses: () => readonly Uint8Array[];
}

/** Version of the Kubernetes DNS specification that the answers follow. */
const SCHEMA_VERSION = '1.1.0';
const SCHEMA_TTL = 28_800;
const VERSION_KEY: NameKey = keyFromText('dns-version.').slice(0, -1);
const NS_KEY: NameKey = keyFromText('ns.dns.').slice(0, -1);

interface Zone {
  readonly wire: Uint8Array;
  readonly key: NameKey;
  /** Replies without records by response code, good for `serial`. */
  readonly empty: Map<number, Reply>;
  serial: number;
}

/** A query for a name in one of the zones. */
interface Asked {
  readonly request: Request;
  readonly query: Query;
  readonly zone: Zone;
  /** Where the zone starts in the query's name. */
  readonly end: number;
  readonly next: Serve;
}

/** Answers names of the cluster from the compiled table. */
export class KubernetesHandler implements Handler {
  readonly name = 'kubernetes';
  /** Set when the server starts. */
  view: ClusterView | undefined;
  readonly #options: KubernetesOptions;
  readonly #zones = new ZoneMap<Zone>();
  readonly #primary: Uint8Array;
  /** Zones that are not for reverse names. */
  readonly #forward: readonly Uint8Array[];
  readonly #fallthrough: ZoneSet | undefined;

  /** The names of Services themselves. */
  readonly source: NameSource = {
    names: (changed) => this.#serviceNames(changed as ServiceAnswers | string | undefined),
    onChange: (listener) => this.view?.table.onChange(listener) ?? (() => {}),
  };

  readonly answers: AnswerSource;

  readonly external: ExternalSource = {
    namespace: (label) => this.view?.table.hasNamespace(label) ?? false,
    service: (labels) => {
      const found = this.view?.table.service(labels);
      return found === undefined ? undefined : externalService(found);
    },
    serial: () => this.view?.table.serial ?? 0,
    ready: () => this.view?.ready ?? false,
  };

  /** Cluster zones change all the time: secondaries look at the serial, and are not told. */
  readonly transfers: TransferSource = {
    origins: () => this.#forward.map(nameKey),
    zone: (origin) => this.#zoneOf(origin),
    onChange: () => () => {},
  };

  constructor(options: KubernetesOptions) {
    this.#options = options;
    for (const text of options.zones) {
      const wire = nameFromText(text);
      this.#zones.set(text, { wire, key: nameKey(wire), empty: new Map(), serial: 0 });
    }
    this.#primary = nameFromText(options.primary);
    this.#forward = options.zones.filter((zone) => !zone.endsWith('.arpa.')).map(nameFromText);
    const { fallthrough } = options;
    this.#fallthrough =
      fallthrough === undefined ? undefined : new ZoneSet(fallthrough.length === 0 ? ['.'] : fallthrough);
    this.answers = new KeptAnswers({
      forward: this.#forward,
      fallthrough,
      pods: options.pods,
      zoneOf: (key, labels) => this.#zones.find(key, labels),
      view: () => this.view,
    });
  }

  owns(key: NameKey, labels: readonly number[]): boolean {
    const end = this.#zones.find(key, labels);
    if (end < 0) return false;
    if (this.#fallthrough?.has(key, labels) !== true) return true;
    const ip = reverseAddress(key, labels);
    if (ip !== undefined) return (this.view?.table.reverse(ip).length ?? 0) > 0;
    return this.#lookup(key, labels, end) !== NXDOMAIN;
  }

  /** The two answers that nearly every query gets: addresses of a Service, and "no such name" on the search path. */
  quick(query: Query): Reply | undefined {
    if (query.type !== TYPE.A && query.type !== TYPE.AAAA) return undefined;
    const { view } = this;
    const end = this.#zones.find(query.key, query.labels);
    if (end < 0 || view === undefined || (end === NS_KEY.length && query.key.startsWith(NS_KEY))) return undefined;
    const found = view.table.lookup(query.key, query.labels, end);
    if (typeof found === 'object') {
      if (!('service' in found)) return undefined;
      const { hosts } = found.answers;
      const reply = query.type === TYPE.A ? hosts.replyA : hosts.replyAaaa;
      if (reply !== undefined || hosts.names.length > 0) return reply;
    }
    if (found !== NXDOMAIN) return this.#empty(query, RCODE.NOERROR, this.#zones.at(query.key, end), end);
    if (!view.ready || this.#fallthrough?.has(query.key, query.labels) === true) return undefined;
    return this.#empty(query, RCODE.NXDOMAIN, this.#zones.at(query.key, end), end);
  }

  serve(request: Request, next: Serve): Outcome | Promise<Outcome> {
    const { query } = request;
    const match = this.#zones.match(query.key, query.labels);
    if (match === undefined) return next(request);
    const end = match.offset;
    const asked: Asked = { request, query, zone: match.value, end, next };
    switch (query.type) {
      case TYPE.A:
      case TYPE.AAAA:
        return this.#address(asked);
      case TYPE.TXT:
        return this.#text(asked);
      case TYPE.SRV:
        return this.#service(asked);
      case TYPE.PTR:
        return this.#pointer(asked);
      case TYPE.CNAME:
        return this.#alias(asked);
      case TYPE.SOA:
        if (end === 0) return this.#answer([this.#soa(query, end)]);
        return this.#nodata(asked);
      case TYPE.NS:
        if (end === 0) return this.#nameServers(asked);
        break;
      case TYPE.AXFR:
      case TYPE.IXFR:
        return failure(this.name, RCODE.REFUSED);
      default:
    }
    return this.#lookup(query.key, query.labels, end) === NXDOMAIN ? this.#missing(asked) : this.#nodata(asked);
  }

  get #podView(): ClusterView | undefined {
    return this.#options.podView === undefined ? this.view : this.#options.podView();
  }

  /** What the name means, and which pod asks. */
  describe(request: Request, say: (label: string, value: () => string) => void): void {
    const pod = this.#podView?.podOf(request.context.remoteAddress);
    if (pod !== undefined) describePod(pod, say);
    const { key, labels } = request.query;
    const end = this.#zones.find(key, labels);
    if (end >= 0) describeName(key, labels, end, this.#options.shape, say);
  }

  /** What kubelet writes into the resolv.conf of the pod that asks. */
  searchPath(request: Request): string[] | undefined {
    const { key, labels } = request.query;
    const match = this.#zones.match(key, labels);
    const namespace = this.view?.podOf(request.context.remoteAddress)?.namespace;
    if (match === undefined || namespace === undefined) return undefined;
    const zone = keyToText(match.value.key);
    const below = zone === '.' ? 'svc.' : `svc.${zone}`;
    return [`${namespace}.${below}`, below, zone];
  }

  #zoneOf(origin: NameKey): { soa: Rr; records: Iterable<Rr> } | undefined {
    const { view } = this;
    const zone = this.#forward.find((wire) => nameKey(wire) === origin);
    if (zone === undefined || view?.ready !== true) return undefined;
    const { ttl } = this.#options;
    const soa = soaRecord(zone, ttl, view.table.serial);
    const servers = nameServers(view.table.allServices(), this.#options.localAddresses(), zone);
    const names = new Map(servers.map(({ name }) => [nameKey(name), name]));
    const version = record(
      concat([Buffer.from(VERSION_KEY, 'latin1'), zone]),
      TYPE.TXT,
      SCHEMA_TTL,
      rdata.txt(SCHEMA_VERSION),
    );
    const head = [soa, ...[...names.values()].map((name) => record(zone, TYPE.NS, ttl, name)), version];
    // Addresses of name servers that are Services come with the Services.
    const glue = servers
      .filter(({ name }) => nameKey(name).startsWith(NS_KEY))
      .map(({ name, address }) => record(name, address.length === 4 ? TYPE.A : TYPE.AAAA, ttl, address));
    return { soa, records: concatenated([head, glue, serviceRecords(view.table.resolvingServices(), zone, ttl)]) };
  }

  *#serviceNames(changed: ServiceAnswers | string | undefined): IterableIterator<Uint8Array> {
    const all = typeof changed === 'object' ? [changed] : (this.view?.table.allServices() ?? []);
    for (const { service } of all) {
      if (typeof changed === 'string' && service.namespace !== changed) continue;
      const name = relativeName(service);
      for (const zone of this.#forward) yield concat([name, zone]);
    }
  }

  /** The objects behind the answers to a name. */
  explain(key: NameKey): Provenance[] {
    const labels = labelOffsets(key);
    const end = this.#zones.find(key, labels);
    const { view } = this;
    if (end < 0 || view === undefined) return [];
    const ip = reverseAddress(key, labels);
    if (ip !== undefined) {
      return view.table.reverse(ip).flatMap((target) => this.explain(nameKey(concat([target, this.#primary]))));
    }
    const found = this.#lookup(key, labels, end);
    if (found === NODATA || found === NXDOMAIN || !('service' in found)) return [];
    const { a, aaaa } = found.answers.hosts;
    return view.causes(found.service, found.answers === found.service.own ? undefined : [...a, ...aaaa]);
  }

  #lookup(key: NameKey, labels: readonly number[], end: number): Lookup {
    const table = this.view?.table;
    if (table === undefined) return NXDOMAIN;
    const found = table.lookup(key, labels, end);
    if (typeof found === 'symbol' || 'service' in found) return found;
    return this.#podExists(found) ? found : NXDOMAIN;
  }

  #podExists(pod: PodName): boolean {
    const { pods } = this.#options;
    return pods === 'insecure' || (pods === 'verified' && (this.#podView?.hasPod(pod.namespace, pod.ip) ?? false));
  }

  #answer(answers: readonly Rr[], additional: readonly Rr[] = []): Reply {
    return authoritative(this.name, { answers, additional, own: true });
  }

  #address(asked: Asked): Outcome | Promise<Outcome> {
    const { query, end } = asked;
    if (end === NS_KEY.length && query.key.startsWith(NS_KEY)) return this.#defaultNs(asked);
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(asked);
    if (found === NODATA) return this.#nodata(asked);
    if (!('service' in found)) {
      const bytes = addressOf(found.ip);
      if ((bytes.length === 4) !== (query.type === TYPE.A)) return this.#nodata(asked);
      return this.#answer([record(undefined, query.type, this.#options.ttl, bytes)]);
    }
    const { hosts } = found.answers;
    if (hosts.names.length > 0) return this.#follow(asked, found);
    return (query.type === TYPE.A ? hosts.replyA : hosts.replyAaaa) ?? this.#nodata(asked);
  }

  /** An alias: inside the zone we go on ourselves, outside the server asks itself. */
  #follow(asked: Asked, found: Found): Outcome | Promise<Outcome> {
    const { query, zone, request } = asked;
    const context = {
      type: query.type,
      zone: zone.key,
      ttl: this.#options.ttl,
      lookup: (key: NameKey, labels: readonly number[], end: number) => this.#lookup(key, labels, end),
    };
    const { records, leaves } = followAlias(context, query.key, found);
    if (leaves === undefined) return records.length === 0 ? this.#nodata(asked) : this.#answer(records);
    return andThen(this.#options.lookup(leaves, query.type, request), (outcome) => {
      const more = outcome.kind === 'reply' ? outcome.answers.map((rr) => ({ ...rr, name: rr.name ?? leaves })) : [];
      return this.#answer([...records, ...more]);
    });
  }

  #text(asked: Asked): Outcome | Promise<Outcome> {
    const { query, end } = asked;
    if (end === VERSION_KEY.length && query.key.startsWith(VERSION_KEY)) {
      return this.#answer([record(undefined, TYPE.TXT, SCHEMA_TTL, rdata.txt(SCHEMA_VERSION))]);
    }
    // Names without records of their own, the zone's apex included, do not exist for TXT (as in CoreDNS).
    return typeof this.#lookup(query.key, query.labels, end) === 'symbol' ? this.#missing(asked) : this.#nodata(asked);
  }

  #service(asked: Asked): Outcome | Promise<Outcome> {
    const { query, zone, end } = asked;
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(asked);
    if (found === NODATA || !('service' in found)) return this.#nodata(asked);
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
    return answers.length === 0 ? this.#nodata(asked) : this.#answer(answers, additional);
  }

  #pointer(asked: Asked): Outcome | Promise<Outcome> {
    const { query, end } = asked;
    const ip = reverseAddress(query.key, query.labels);
    if (ip === undefined) {
      return this.#lookup(query.key, query.labels, end) === NXDOMAIN ? this.#missing(asked) : this.#nodata(asked);
    }
    const targets = this.view?.table.reverse(ip) ?? [];
    if (targets.length === 0) return this.#missing(asked);
    const { ttl } = this.#options;
    return this.#answer(targets.map((target) => record(undefined, TYPE.PTR, ttl, concat([target, this.#primary]))));
  }

  #alias(asked: Asked): Outcome | Promise<Outcome> {
    const { query, end } = asked;
    const found = this.#lookup(query.key, query.labels, end);
    if (found === NXDOMAIN) return this.#missing(asked);
    const target = found !== NODATA && 'service' in found ? found.answers.hosts.names[0] : undefined;
    if (target === undefined) return this.#nodata(asked);
    return this.#answer([record(undefined, TYPE.CNAME, this.#options.ttl, target)]);
  }

  #nameServers(asked: Asked): Outcome {
    const { ttl } = this.#options;
    const servers = nameServers(this.view?.table.allServices() ?? [], this.#options.localAddresses(), asked.zone.wire);
    const seen = new Set<string>();
    const answers = servers
      .filter(({ name }) => once(seen, nameKey(name)))
      .map(({ name }) => record(undefined, TYPE.NS, ttl, name));
    const additional = servers.map(({ name, address }) =>
      record(name, address.length === 4 ? TYPE.A : TYPE.AAAA, ttl, address),
    );
    return answers.length === 0 ? this.#nodata(asked) : this.#answer(answers, additional);
  }

  #defaultNs(asked: Asked): Outcome {
    const { type } = asked.query;
    const size = type === TYPE.A ? 4 : 16;
    const answers = nameServers(this.view?.table.allServices() ?? [], this.#options.localAddresses(), asked.zone.wire)
      .filter(({ address }) => address.length === size)
      .map(({ address }) => record(undefined, type, this.#options.ttl, address));
    return answers.length === 0 ? this.#nodata(asked) : this.#answer(answers);
  }

  #soa(query: Query, end: number): Rr {
    return soaRecord(query.qname.subarray(end), this.#options.ttl, this.view?.table.serial ?? 0);
  }

  #nodata({ query, zone, end }: Asked): Reply {
    return this.#empty(query, RCODE.NOERROR, zone, end);
  }

  /** A name that does not exist: to the next plugin, or NXDOMAIN; SERVFAIL while we cannot know yet. */
  #missing({ request, query, zone, end, next }: Asked): Outcome | Promise<Outcome> {
    if (this.#fallthrough?.has(query.key, query.labels) === true) return next(request);
    return this.#empty(query, this.view?.ready === true ? RCODE.NXDOMAIN : RCODE.SERVFAIL, zone, end);
  }

  /** No records: the SOA record says for how long to believe it. It keeps the case of the question. */
  #empty(query: Query, rcode: number, zone: Zone, end: number): Reply {
    const serial = this.view?.table.serial ?? 0;
    const make = (): Reply => authoritative(this.name, { rcode, authority: [this.#soa(query, end)], own: true });
    if (!endsWith(query.qname, zone.wire)) return make();
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
}

function externalService(answers: ServiceAnswers): ExternalService {
  const items = (found: NameAnswers | undefined): { host: string; port: number }[] => {
    const out: { host: string; port: number }[] = [];
    found?.each((host, port) => void out.push({ host, port }));
    return out;
  };
  const { external, ports, kind } = answers.service;
  return {
    addresses: external,
    ports,
    headless: kind === 'headless',
    endpoints: (port, protocol) =>
      items(port === undefined || protocol === undefined ? answers.own : answers.port(port, protocol)),
    endpoint: (label) => items(answers.endpoint(label)),
  };
}

function* concatenated(lists: readonly Iterable<Rr>[]): IterableIterator<Rr> {
  for (const list of lists) yield* list;
}
