import { argumentError } from '../../corefile/error.ts';
import { bareReply, type Handler, type Reply } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { keyFromText, nameFromText, type Query, RCODE, rdata, type Rr, record, TYPE } from '../../wire/index.ts';

const TTL = 604_800;
const ZONES = ['localhost.', '0.in-addr.arpa.', '127.in-addr.arpa.', '255.in-addr.arpa.'];
const APEXES = new Set(ZONES.map(keyFromText));
const LOCALHOST = keyFromText('localhost.');
const LOOPBACK_PTR = keyFromText('1.0.0.127.in-addr.arpa.');
const LOCALHOST_NAME = nameFromText('localhost.');
const SOA = rdata.soa({
  mname: LOCALHOST_NAME,
  rname: nameFromText('root.localhost.'),
  serial: 1,
  refresh: 0,
  retry: 0,
  expire: 0,
  minimum: TTL,
});

function reply(content: Partial<Reply>): Reply {
  return { ...bareReply(RCODE.NOERROR, 'local'), own: true, ...content };
}

const soa = (name: Uint8Array | undefined): Rr => record(name, TYPE.SOA, TTL, SOA);

/** The addresses of localhost, or that it has nothing else. */
function localhost(type: number): Reply {
  if (type === TYPE.A) return reply({ answers: [record(undefined, TYPE.A, TTL, Uint8Array.of(127, 0, 0, 1))] });
  if (type === TYPE.AAAA) {
    const address = new Uint8Array(16);
    address[15] = 1;
    return reply({ answers: [record(undefined, TYPE.AAAA, TTL, address)] });
  }
  return reply({ authority: [soa(undefined)] });
}

/** Keeps names of this machine from going out: localhost, what is below it or begins with it, and loopback addresses. */
export const local: Plugin = {
  name: 'local',
  once: true,
  setup(directives, { runtime }) {
    const extra = directives[0]?.args[0] ?? directives[0]?.block?.[0]?.name;
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const zones = new ZoneSet(ZONES);
    const counted = runtime.metrics
      .counter('coredns_local_localhost_requests_total', 'Counter of localhost.<domain> requests.')
      .cell();
    const answer = (query: Query): Reply | undefined => {
      const { key, labels, type } = query;
      const below = labels.length > 1 && key.endsWith(LOCALHOST) && key.length > LOCALHOST.length;
      const prefixed = labels.length > 1 && key.startsWith(LOCALHOST.slice(0, -1));
      if (below || prefixed) {
        counted.value += 1;
        return localhost(type);
      }
      const zone = zones.match(key, labels);
      if (zone === undefined) return undefined;
      if (APEXES.has(key)) {
        if (type === TYPE.SOA) return reply({ answers: [soa(undefined)] });
        if (type === TYPE.NS) return reply({ answers: [record(undefined, TYPE.NS, TTL, LOCALHOST_NAME)] });
        return key === LOCALHOST ? localhost(type) : reply({ authority: [soa(undefined)] });
      }
      const origin = query.qname.subarray(query.qname.length - keyFromText(zone).length);
      if (key !== LOOPBACK_PTR) return reply({ rcode: RCODE.NXDOMAIN, authority: [soa(origin)] });
      if (type === TYPE.PTR) return reply({ answers: [record(undefined, TYPE.PTR, TTL, LOCALHOST_NAME)] });
      return reply({ authority: [soa(origin)] });
    };
    const handler: Handler = {
      name: 'local',
      adjust: (query, later) => answer(query) ?? later,
      serve: (request, next) => answer(request.query) ?? next(request),
    };
    return handler;
  },
};
