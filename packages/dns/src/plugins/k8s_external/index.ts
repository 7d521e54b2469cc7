import { parseIp } from '@weft/net';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import {
  andThen,
  authoritative,
  type ExternalService,
  type ExternalSource,
  type Handler,
} from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneMap, ZoneSet } from '../../server/zoneset.ts';
import {
  concat,
  keyFromText,
  type NameKey,
  nameFromText,
  type Query,
  RCODE,
  type Rr,
  rdata,
  record,
  TYPE,
} from '../../wire/index.ts';

const schema = {
  apex: {
    syntax: 'APEX',
    doc: 'Label below which the name servers of the zones are named. Default dns.',
    parse: (line) => args(line, 1)[0] as string,
  },
  ttl: option.integer('SECONDS', 'TTL of records, 0 to 3600. Default 5.', {
    min: 0,
    max: 3600,
    error: 'ttl must be in range [0, 3600]',
  }),
  headless: option.flag('Headless Services have the addresses of their ready endpoints.'),
  fallthrough: option.zones(
    '[ZONE…]',
    'Names that do not exist go to the next plugin; in these zones only, or in all.',
  ),
} satisfies OptionSchema;

/** Something that a name stands for: an address, or the name of a load balancer, and a port. */
interface Item {
  readonly host: string;
  readonly port: number;
}

/** Answers names of Services with the addresses that they have outside of the cluster. */
export const k8sExternal: Plugin = {
  name: 'k8s_external',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const options = parseOptions(schema, directive.block, context.warn);
    const named = directive.args.flatMap((token) => zonesFromArgument(token));
    const zones = new ZoneMap<Uint8Array>();
    for (const zone of named.length > 0 ? named : context.block.zones) zones.set(zone, nameFromText(zone));
    const { ttl = 5, apex = 'dns', fallthrough } = options;
    let apexKey: NameKey;
    try {
      apexKey = keyFromText(apex).slice(0, -1);
    } catch {
      throw argumentError(directive.name, 'apex');
    }
    const apexWire = nameFromText(apex).subarray(0, -1);
    const through = fallthrough === undefined ? undefined : new ZoneSet(fallthrough.length === 0 ? ['.'] : fallthrough);
    let source: ExternalSource | undefined;
    const ns1 = (zone: Uint8Array): Uint8Array => concat([Uint8Array.of(3, 0x6e, 0x73, 0x31), apexWire, zone]);
    const soa = (zone: Uint8Array): Rr =>
      record(
        zone,
        TYPE.SOA,
        ttl,
        rdata.soa({
          mname: ns1(zone),
          rname: concat([nameFromText('hostmaster').subarray(0, -1), apexWire, zone]),
          serial: source?.serial() ?? 0,
          refresh: 7200,
          retry: 1800,
          expire: 86400,
          minimum: ttl,
        }),
      );
    const addresses = (owner: Uint8Array | undefined, type?: number): Rr[] =>
      context
        .localAddresses()
        .map((bytes) => record(owner, bytes.length === 4 ? TYPE.A : TYPE.AAAA, ttl, bytes))
        .filter((rr) => type === undefined || rr.type === type);
    const empty = (zone: Uint8Array, rcode: number) =>
      authoritative('k8s_external', { rcode, authority: [soa(zone)], own: true });
    const answer = (zone: Uint8Array, answers: readonly Rr[], additional: readonly Rr[] = []) =>
      answers.length === 0
        ? empty(zone, RCODE.NOERROR)
        : authoritative('k8s_external', { answers, additional, own: true });

    const handler: Handler = {
      name: 'k8s_external',
      linked(later) {
        source = later.find(({ external }) => external !== undefined)?.external;
        if (source === undefined) {
          throw parsingError(
            directive.name,
            'no kubernetes plugin in this block',
            'k8s_external answers from its data',
          );
        }
      },
      serve(request, next) {
        const { query } = request;
        const match = zones.match(query.key, query.labels);
        if (match === undefined || source === undefined) return next(request);
        const { value: zone, offset: end } = match;
        if (end === 0) {
          if (query.type === TYPE.SOA) return answer(zone, [soa(zone)]);
          if (query.type === TYPE.NS) {
            return answer(zone, [record(undefined, TYPE.NS, ttl, ns1(zone))], addresses(ns1(zone)));
          }
          return empty(zone, RCODE.NOERROR);
        }
        if (query.key.slice(0, end).endsWith(apexKey) && query.labels.includes(end - apexKey.length)) {
          if (end === apexKey.length) return empty(zone, RCODE.NOERROR);
          if (query.key.slice(0, end - apexKey.length) !== '\u0003ns1') return empty(zone, RCODE.NXDOMAIN);
          return answer(zone, addresses(undefined, query.type));
        }
        const found = find(source, query, end, options.headless === true);
        if (found === undefined && through?.has(query.key, query.labels) === true) return next(request);
        if (found === undefined) return empty(zone, source.ready() ? RCODE.NXDOMAIN : RCODE.SERVFAIL);
        if (query.type === TYPE.SRV) {
          const { answers, additional } = srv(found, query, end, ttl);
          return answer(zone, answers, additional);
        }
        if (query.type !== TYPE.A && query.type !== TYPE.AAAA) return answer(zone, []);
        const records = addressRecords(found.items, query.type, ttl);
        const alias = records.length > 0 ? undefined : found.items.find(({ host }) => parseIp(host) === undefined);
        if (alias === undefined) return answer(zone, records);
        const target = nameFromText(alias.host);
        return andThen(context.lookup(target, query.type, request), (outcome) => {
          const more =
            outcome.kind === 'reply' ? outcome.answers.map((rr) => ({ ...rr, name: rr.name ?? target })) : [];
          return answer(zone, [record(undefined, TYPE.CNAME, ttl, target), ...more]);
        });
      },
    };
    return handler;
  },
};

interface Found {
  readonly items: readonly Item[];
  /** Where the name of the Service starts in the question. */
  readonly at: number;
}

/**
 * `SERVICE.NAMESPACE`, `_PORT._PROTOCOL.SERVICE.NAMESPACE`, or `NAMESPACE` which has no records. Undefined for names that
 * do not exist.
 */
function find(source: ExternalSource, query: Query, end: number, headless: boolean): Found | undefined {
  const own = query.labels.filter((at) => at < end);
  const [namespaceAt, nameAt] = [own.at(-1), own.at(-2)];
  if (namespaceAt === undefined || !source.namespace(query.key.slice(namespaceAt, end))) return undefined;
  if (nameAt === undefined) return { items: [], at: namespaceAt };
  const service = source.service(query.key.slice(nameAt, end));
  if (service === undefined || own.length > 4) return undefined;
  const rest = own.length - 2;
  if (rest === 0 || rest === 2) {
    const [port, protocol] = rest === 0 ? [] : own.slice(0, 2).map((at) => bare(query.key, at));
    const items = itemsOf(service, headless, port, protocol);
    return items.length === 0 ? undefined : { items, at: nameAt };
  }
  // A single endpoint, by its label.
  const items = headless ? service.endpoint(query.key.slice(own[0], nameAt)) : [];
  return items.length === 0 ? undefined : { items, at: own[0] as number };
}

function itemsOf(service: ExternalService, headless: boolean, port?: string, protocol?: string): Item[] {
  if (service.addresses.length === 0) return headless && service.headless ? service.endpoints(port, protocol) : [];
  const ports = service.ports.filter(
    (known) => port === undefined || (known.name === port && known.protocol === protocol),
  );
  return service.addresses.flatMap((host) => ports.map((known) => ({ host, port: known.port })));
}

function bare(key: NameKey, at: number): string {
  const label = key.slice(at + 1, at + 1 + key.charCodeAt(at));
  return label.startsWith('_') ? label.slice(1) : label;
}

function addressRecords(items: readonly Item[], type: number, ttl: number, owner?: Uint8Array): Rr[] {
  const out: Rr[] = [];
  for (const host of new Set(items.map((item) => item.host))) {
    const ip = parseIp(host);
    if (ip !== undefined && (ip.family === 4 ? TYPE.A : TYPE.AAAA) === type) {
      out.push(record(owner, type, ttl, ip.bytes));
    }
  }
  return out;
}

/** One target for every port: the Service's own name. */
function srv(found: Found, query: Query, end: number, ttl: number): { answers: Rr[]; additional: Rr[] } {
  if (found.items.length === 0 || found.at > end) return { answers: [], additional: [] };
  const target = query.qname.subarray(found.at);
  const weight = Math.max(1, Math.floor(100 / found.items.length));
  const ports = [...new Set(found.items.filter(({ port }) => port > 0).map(({ port }) => port))];
  return {
    answers: ports.map((port) => record(undefined, TYPE.SRV, ttl, rdata.srv(0, weight, port, target))),
    additional: [TYPE.A, TYPE.AAAA].flatMap((type) => addressRecords(found.items, type, ttl, target)),
  };
}
