import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FastPath } from '../../src/fast/fast-path.ts';
import { DROP } from '../../src/fast/reader.ts';
import { Sorts } from '../../src/fast/tallies.ts';
import { packetContext } from '../../src/server/request.ts';
import {
  decodeMessage,
  encodeQuery,
  FLAG,
  nameFromText,
  nameToText,
  RCODE,
  rdata,
  record,
  TYPE,
  typeName,
} from '../../src/wire/index.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';
import { type StartedSite, startSite } from '../support/site.ts';
import { TestUpstream } from '../support/upstream.ts';

const Z = 'cluster.local';
const HTTP = { name: 'http', port: 80 };
const DNS = { name: 'dns', port: 53, protocol: 'UDP' };
const CLIENT = packetContext('udp', '127.0.0.1', 4000);

/** An upstream whose answers show every shape: many addresses, aliases, denials, none, and failure. */
function upstream(): TestUpstream {
  return new TestUpstream(({ qname, type }) => {
    const name = nameToText(qname).toLowerCase();
    const soa = record(nameFromText('example.org.'), TYPE.SOA, 300, soaData());
    if (name.startsWith('missing')) return { rcode: RCODE.NXDOMAIN, authority: [soa] };
    if (name.startsWith('broken')) return { rcode: RCODE.SERVFAIL };
    if (type !== TYPE.A) return { authority: [soa], flags: FLAG.RA };
    const address = (i: number, owner?: string) =>
      record(owner === undefined ? undefined : nameFromText(owner), TYPE.A, 40 + i, Uint8Array.of(192, 0, 2, i));
    if (name.startsWith('many')) return { answers: [1, 2, 3, 4].map((i) => address(i)), flags: FLAG.RA | FLAG.AD };
    if (name.startsWith('alias')) {
      const cname = record(undefined, TYPE.CNAME, 20, nameFromText('Target.Example.net.'));
      return { answers: [cname, address(7, 'Target.Example.net.')], flags: FLAG.RA };
    }
    if (name.startsWith('big')) return { answers: Array.from({ length: 60 }, (_, i) => address(i)), flags: FLAG.RA };
    return { answers: [address(9)], flags: FLAG.RA | FLAG.AA };
  });
}

function soaData(): Uint8Array {
  return rdata.soa({
    mname: nameFromText('ns.example.org.'),
    rname: nameFromText('admin.example.org.'),
    serial: 1,
    refresh: 2,
    retry: 3,
    expire: 4,
    minimum: 5,
  });
}

function corefile(port: number, more = ''): string {
  return `.:0 {
    errors
    prometheus localhost:0
    kubernetes ${Z} in-addr.arpa ip6.arpa {
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . 127.0.0.1:${port}
    cache 30
    loadbalance
    ${more}
}
other.${Z}:0 {
    forward . 127.0.0.1:${port}
}
`;
}

type Change = {
  readonly service: string;
  readonly kind: 'cluster' | 'headless' | 'external' | 'none';
  readonly n: number;
};

const SERVICES = ['web', 'db', 'api'];
const NAMESPACES = ['demo', 'other'];

function apply(api: FakeApi, known: Set<string>, { service: name, kind, n }: Change): void {
  if (kind === 'none') {
    if (!known.delete(name)) return;
    api.remove('services', name);
    return;
  }
  known.add(name);
  if (kind === 'external') {
    const target = n % 2 === 0 ? `web.demo.svc.${Z}` : 'alias.example.org';
    api.put('services', service(name, { externalName: target }));
    return;
  }
  const ips = n % 3 === 0 ? [`10.96.0.${n}`] : [`10.96.0.${n}`, `fd00::${n}`];
  api.put(
    'services',
    service(name, kind === 'headless' ? { ports: [HTTP, DNS] } : { clusterIPs: ips, ports: [HTTP, DNS] }),
  );
  const endpoints = Array.from({ length: n % 5 }, (_, i) => ({
    ip: `10.1.${n}.${i}`,
    ...(i % 2 === 0 ? { hostname: `pod-${i}` } : {}),
  }));
  api.put('endpointslices', slice(name, endpoints, [HTTP, DNS]));
}

const serviceName = fc.constantFrom(...SERVICES.flatMap((s) => NAMESPACES.map((ns) => `${ns}/${s}`)));
const change: fc.Arbitrary<Change> = fc.record({
  service: serviceName,
  kind: fc.constantFrom('cluster', 'headless', 'external', 'none'),
  n: fc.nat({ max: 40 }),
});

const inCluster = serviceName.chain((key) => {
  const [ns = '', name = ''] = key.split('/');
  const base = `${name}.${ns}.svc.${Z}`;
  return fc.constantFrom(
    base,
    base,
    base,
    `_http._tcp.${base}`,
    `_dns._udp.${base}`,
    `pod-0.${base}`,
    `10-1-7-1.${base}`,
    `www.${base}`,
    `a.b.c.${base}`,
    `${ns}.svc.${Z}`,
    `www.example.org.${ns}.svc.${Z}`,
    `10-1-1-1.${ns}.pod.${Z}`,
  );
});
const elsewhere = fc.constantFrom(
  Z,
  `svc.${Z}`,
  `pod.${Z}`,
  `ns.dns.${Z}`,
  `dns-version.${Z}`,
  `nothing.${Z}`,
  `www.example.org.svc.${Z}`,
  `www.example.org.${Z}`,
  `gone.gone.svc.${Z}`,
  `host.other.${Z}`,
  '7.0.96.10.in-addr.arpa',
  '9.9.9.10.in-addr.arpa',
  'k3s.node',
  '0.7.1.10.in-addr.arpa',
  '1.2.3.4.in-addr.arpa',
  '.',
);
const forwarded = fc
  .constantFrom('host', 'many', 'alias', 'missing', 'broken', 'big')
  .map((label) => `${label}.example.org`);

interface Asked {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly edns: { udpSize: number; flags: number; options: Uint8Array } | undefined;
}

const question: fc.Arbitrary<Asked> = fc.record({
  name: fc
    .tuple(fc.oneof(inCluster, inCluster, elsewhere, forwarded), fc.nat({ max: 3 }), fc.infiniteStream(fc.boolean()))
    .map(([name, mixed, coins]) =>
      mixed > 0 ? name : Array.from(name, (c) => (coins.next().value === true ? c.toUpperCase() : c)).join(''),
    ),
  type: fc.constantFrom(
    TYPE.A,
    TYPE.A,
    TYPE.A,
    TYPE.AAAA,
    TYPE.SRV,
    TYPE.PTR,
    TYPE.TXT,
    TYPE.NS,
    TYPE.SOA,
    TYPE.CNAME,
    TYPE.HTTPS,
    TYPE.ANY,
    TYPE.MX,
    TYPE.DS,
  ),
  flags: fc.constantFrom(0, FLAG.RD, FLAG.RD, FLAG.RD | FLAG.CD, FLAG.RD | FLAG.AD, FLAG.AA | FLAG.TC | FLAG.RA | 0x40),
  edns: fc.option(
    fc.record({
      udpSize: fc.constantFrom(0, 511, 512, 1232, 4096, 65535),
      flags: fc.constantFrom(0, 0x8000, 0x4000, 0xffff),
      options: fc.constantFrom(new Uint8Array(), Uint8Array.of(0, 10, 0, 2, 1, 2), Uint8Array.of(0, 8, 0, 1, 9)),
    }),
    { nil: undefined },
  ),
});

function packetOf({ name, type, flags, edns }: Asked): Buffer {
  return Buffer.from(encodeQuery({ id: 4711, flags, name: nameFromText(name), type, class: 1, edns }));
}

/** The answer with the addresses sorted: their order changes from answer to answer. */
function comparable(bytes: Uint8Array | undefined): string {
  if (bytes === undefined) return 'no answer';
  const message = decodeMessage(bytes);
  const records = (list: typeof message.answers): string[] =>
    list.map(
      (rr) =>
        `${Buffer.from(rr.name ?? []).toString('latin1')} ${rr.ttl} ${rr.type} ${Buffer.from(rr.rdata).toString('hex')}`,
    );
  const spread = message.answers.filter((rr) => [TYPE.A, TYPE.AAAA, TYPE.MX].includes(rr.type as never)).length > 1;
  const answers = records(message.answers);
  return JSON.stringify({
    head: Buffer.from(bytes.subarray(0, 12)).toString('hex'),
    bytes: spread ? bytes.length : Buffer.from(bytes).toString('hex'),
    answers: spread ? answers.sort() : answers,
    rest: [records(message.authority), records(message.additional)],
  });
}

describe('answers without the chain', () => {
  const server = upstream();
  const out = Buffer.alloc(8192);
  beforeAll(() => server.start());
  afterAll(() => server.stop());

  interface World {
    readonly api: FakeApi;
    readonly started: StartedSite;
    readonly fast: FastPath;
    readonly sorts: Sorts;
    readonly clock: { time: number };
    readonly known: Set<string>;
    readonly hits: Map<string, number>;
    marker: number;
  }

  async function world(text = corefile(server.port)): Promise<World> {
    const api = new FakeApi();
    api.put('namespaces', ...['demo', 'sync'].map(namespace));
    api.put('services', service('sync/marker', { clusterIPs: ['10.97.0.0'] }));
    const clock = { time: 1_700_000_000_500 };
    const source = { now: () => clock.time };
    const started = await startSite(text, api, source);
    const sorts = new Sorts();
    const fast = new FastPath('here', sorts, source);
    fast.follow(started.site);
    return { api, started, fast, sorts, clock, known: new Set(), hits: new Map(), marker: 0 };
  }

  async function stop({ fast, started }: World): Promise<void> {
    fast.close();
    await started.stop();
  }

  /** Waits until everything that was put before has been applied. */
  async function settled({ api, started, ...w }: World): Promise<number> {
    const marker = w.marker + 1;
    const ip = Uint8Array.of(10, 97, marker >> 8, marker & 255);
    api.put('services', service('sync/marker', { clusterIPs: [ip.join('.')] }));
    const packet = packetOf({ name: `marker.sync.svc.${Z}`, type: TYPE.A, flags: 0, edns: undefined });
    for (;;) {
      const answer = await started.site.respond(packet, CLIENT);
      if (answer !== undefined && answer.subarray(-4).equals(ip)) return marker;
      await new Promise(setImmediate);
    }
  }

  function fastAnswer({ fast }: World, packet: Uint8Array): Buffer | number {
    const size = fast.respond(packet, false, out);
    return size > 0 ? Buffer.from(out.subarray(0, size)) : size;
  }

  /** Asks both ways, lets the table learn, and asks both ways again. */
  async function compare(w: World, asked: Asked): Promise<void> {
    const packet = packetOf(asked);
    for (let round = 0; round < 2; round++) {
      const fast = fastAnswer(w, packet);
      const chain = await w.started.site.respond(packet, CLIENT);
      const label = `${asked.name} ${typeName(asked.type)}`;
      if (fast === DROP) expect(chain).toBeUndefined();
      else if (typeof fast === 'number') w.fast.learn(packet);
      else {
        const where = asked.name.toLowerCase().endsWith('example.org') ? 'cached ' : '';
        const kind = `${where}${typeName(asked.type)} ${decodeMessage(fast).rcode}`;
        w.hits.set(kind, (w.hits.get(kind) ?? 0) + 1);
        expect(comparable(fast), label).toBe(comparable(chain));
      }
    }
  }

  const HOSTS = `hosts /dev/null {
        10.9.9.9 host.example.org k3s.node
        10.9.9.8 www.demo.svc.${Z}
        fallthrough
    }`;

  it.each([
    ['', ['A 3', 'AAAA 3', 'SRV 3', 'TXT 3']],
    [HOSTS, []],
  ])(
    'are those of the chain, whatever changes, with %j',
    async (more, denials) => {
      const hits = new Map<string, number>();
      const step = fc.oneof(
        { weight: 1, arbitrary: fc.array(change, { minLength: 1, maxLength: 4 }).map((changes) => ({ changes })) },
        { weight: 1, arbitrary: fc.constantFrom('demo', 'other').map((ns) => ({ ns })) },
        { weight: 1, arbitrary: fc.constantFrom(300, 2000, 45_000).map((ms) => ({ ms })) },
        {
          weight: 6,
          arbitrary: fc.array(question, { minLength: 5, maxLength: 25 }).map((questions) => ({ questions })),
        },
      );
      await fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
          const w = await world(corefile(server.port, more));
          const namespaces = new Set(['demo']);
          try {
            for (const s of steps) {
              if ('changes' in s) for (const c of s.changes) apply(w.api, w.known, c);
              if ('ns' in s) {
                if (namespaces.delete(s.ns)) w.api.remove('namespaces', s.ns);
                else {
                  namespaces.add(s.ns);
                  w.api.put('namespaces', namespace(s.ns));
                }
              }
              if ('ms' in s) w.clock.time += s.ms;
              if (!('questions' in s)) w.marker = await settled(w);
              else for (const asked of s.questions) await compare(w, asked);
            }
            for (const [kind, n] of w.hits) hits.set(kind, (hits.get(kind) ?? 0) + n);
          } finally {
            await stop(w);
          }
        }),
        { numRuns: 40 },
      );
      for (const kind of ['A 0', 'AAAA 0', 'SRV 0', 'PTR 0', ...denials]) {
        expect(hits.get(kind) ?? 0, kind).toBeGreaterThan(4);
      }
      // A busy machine makes some upstream answers late, and late ones are failures, which are not kept.
      for (const kind of ['cached A 0', 'cached A 3', 'cached AAAA 0']) {
        expect(hits.get(kind) ?? 0, kind).toBeGreaterThan(0);
      }
    },
    60_000,
  );
});
