import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, startDns } from '../../src/index.ts';
import { FLAG } from '../../src/wire/index.ts';
import { ask, exchangeUdp, question, rrText, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, pod, service, slice } from '../support/objects.ts';

const HTTP = { name: 'http', port: 80, protocol: 'TCP' };
const DNS = { name: 'dns', port: 53, protocol: 'UDP' };

function cluster(): FakeApi {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'), namespace('demo'), namespace('kube-system'));
  api.put(
    'services',
    service('default/kubernetes', { clusterIPs: ['10.96.0.1'], ports: [{ name: 'https', port: 443 }] }),
    service('kube-system/kube-dns', { clusterIPs: ['10.96.0.10'], ports: [DNS, { name: 'dns-tcp', port: 53 }] }),
    service('demo/web', { clusterIPs: ['10.96.10.20', 'fd00::20'], ports: [HTTP, { name: 'https', port: 443 }] }),
    service('demo/portless', { clusterIPs: ['10.96.10.21'] }),
    service('demo/idle', { clusterIPs: ['10.96.10.22'], ports: [HTTP] }),
    service('default/nginx', { ports: [{ name: 'web', port: 80 }] }),
    service('demo/empty', { ports: [HTTP] }),
    service('demo/six', { ports: [HTTP] }),
    service('demo/ext', { externalName: 'web.demo.svc.cluster.local' }),
    service('demo/outside', { externalName: 'www.example.org' }),
    service('demo/loop1', { externalName: 'loop2.demo.svc.cluster.local' }),
    service('demo/loop2', { externalName: 'loop1.demo.svc.cluster.local' }),
    service('demo/dangling', { externalName: 'nowhere.demo.svc.cluster.local' }),
    service('demo/ipname', { externalName: '192.0.2.1' }),
    service('lost/web', { clusterIPs: ['10.96.10.99'], ports: [HTTP] }),
  );
  api.put(
    'endpointslices',
    slice(
      'demo/web',
      [
        { ip: '10.244.1.1', pod: 'web-x' },
        { ip: '10.244.1.2', ready: false },
      ],
      [{ name: 'http', port: 8080 }],
    ),
    slice(
      'default/nginx',
      [
        { ip: '10.244.1.5', hostname: 'web-0', pod: 'web-0' },
        { ip: '10.244.2.6', hostname: 'web-1', pod: 'web-1' },
        { ip: '10.244.2.7', ready: null },
        { ip: '10.244.2.8', ready: false },
      ],
      [{ name: 'web', port: 80 }],
    ),
    slice('demo/empty', [{ ip: '10.244.9.9', ready: false }], [HTTP]),
    slice('demo/six', [{ ip: 'fd00:1::5' }, { ip: 'fd00:1::' }], [HTTP], { addressType: 'IPv6' }),
  );
  api.put('pods', pod('demo/web-x', '10.244.1.1'));
  return api;
}

const Z = 'cluster.local';
const NX = 'NXDOMAIN';
const NODATA = 'NOERROR';

/** Names of the articles that users start from, and every rule of the specification. */
const TABLE: readonly [name: string, type: string, expected: string][] = [
  [`web.demo.svc.${Z}`, 'A', 'NOERROR | A 10.96.10.20'],
  [`web.demo.svc.${Z}`, 'AAAA', 'NOERROR | AAAA fd00::20'],
  [`kubernetes.default.svc.${Z}`, 'A', 'NOERROR | A 10.96.0.1'],
  [`kubernetes.default.svc.${Z}`, 'AAAA', NODATA],
  [`WEB.Demo.SVC.${Z}`, 'A', 'NOERROR | A 10.96.10.20'],
  [`portless.demo.svc.${Z}`, 'A', 'NOERROR | A 10.96.10.21'],
  [`idle.demo.svc.${Z}`, 'A', 'NOERROR | A 10.96.10.22'],
  // headless
  [`nginx.default.svc.${Z}`, 'A', 'NOERROR | A 10.244.1.5 | A 10.244.2.6 | A 10.244.2.7'],
  [`web-0.nginx.default.svc.${Z}`, 'A', 'NOERROR | A 10.244.1.5'],
  [`web-1.nginx.default.svc.${Z}`, 'A', 'NOERROR | A 10.244.2.6'],
  [`10-244-2-7.nginx.default.svc.${Z}`, 'A', 'NOERROR | A 10.244.2.7'],
  [`10-244-2-8.nginx.default.svc.${Z}`, 'A', NX],
  [`10-244-1-5.nginx.default.svc.${Z}`, 'A', NX],
  [`empty.demo.svc.${Z}`, 'A', NX],
  [`six.demo.svc.${Z}`, 'AAAA', 'NOERROR | AAAA fd00:1:: | AAAA fd00:1::5'],
  [`six.demo.svc.${Z}`, 'A', NODATA],
  [`fd00-1--5.six.demo.svc.${Z}`, 'AAAA', 'NOERROR | AAAA fd00:1::5'],
  [`fd00-1--0.six.demo.svc.${Z}`, 'AAAA', 'NOERROR | AAAA fd00:1::'],
  // endpoints of a ClusterIP Service
  [`10-244-1-1.web.demo.svc.${Z}`, 'A', 'NOERROR | A 10.244.1.1'],
  [`10-244-1-2.web.demo.svc.${Z}`, 'A', NX],
  // ports
  [`_http._tcp.web.demo.svc.${Z}`, 'SRV', `NOERROR | SRV 0 50 80 web.demo.svc.${Z}.`],
  [`http.tcp.web.demo.svc.${Z}`, 'SRV', `NOERROR | SRV 0 50 80 web.demo.svc.${Z}.`],
  [`_http._tcp.web.demo.svc.${Z}`, 'A', 'NOERROR | A 10.96.10.20'],
  [`_http._udp.web.demo.svc.${Z}`, 'SRV', NX],
  [`_nope._tcp.web.demo.svc.${Z}`, 'SRV', NX],
  [`web.demo.svc.${Z}`, 'SRV', `NOERROR | SRV 0 25 443 web.demo.svc.${Z}. | SRV 0 25 80 web.demo.svc.${Z}.`],
  [`portless.demo.svc.${Z}`, 'SRV', NODATA],
  [
    `_web._tcp.nginx.default.svc.${Z}`,
    'SRV',
    `NOERROR | SRV 0 33 80 10-244-2-7.nginx.default.svc.${Z}. | SRV 0 33 80 web-0.nginx.default.svc.${Z}. | SRV 0 33 80 web-1.nginx.default.svc.${Z}.`,
  ],
  [`a.b.c.web.demo.svc.${Z}`, 'A', NX],
  [`www.google.com.demo.svc.${Z}`, 'A', NX],
  // aliases
  [`ext.demo.svc.${Z}`, 'A', `NOERROR | A 10.96.10.20 | CNAME web.demo.svc.${Z}.`],
  [`ext.demo.svc.${Z}`, 'CNAME', `NOERROR | CNAME web.demo.svc.${Z}.`],
  [`ext.demo.svc.${Z}`, 'SRV', NODATA],
  [`ext.demo.svc.${Z}`, 'TXT', NODATA],
  [`outside.demo.svc.${Z}`, 'A', 'NOERROR | CNAME www.example.org.'],
  [`loop1.demo.svc.${Z}`, 'A', NODATA],
  [`dangling.demo.svc.${Z}`, 'A', NODATA],
  [`ipname.demo.svc.${Z}`, 'A', NX],
  [`x.ext.demo.svc.${Z}`, 'A', NX],
  // the shape of the zone
  [Z, 'A', NODATA],
  [`svc.${Z}`, 'A', NODATA],
  [`pod.${Z}`, 'A', NODATA],
  [`demo.svc.${Z}`, 'A', NODATA],
  [`demo.pod.${Z}`, 'A', NODATA],
  [`nope.svc.${Z}`, 'A', NX],
  [`foo.${Z}`, 'A', NX],
  [`nope.demo.svc.${Z}`, 'A', NX],
  // a Service of a namespace that is not there
  [`web.lost.svc.${Z}`, 'A', NX],
  // quirks
  [Z, 'TXT', NX],
  [`dns-version.${Z}`, 'TXT', 'NOERROR | TXT "1.1.0"'],
  [`dns-version.${Z}`, 'A', NX],
  [`ns.dns.${Z}`, 'TXT', NX],
  [Z, 'SOA', `NOERROR | SOA ns.dns.${Z}.`],
  [`nope.demo.svc.${Z}`, 'SOA', NODATA],
  [Z, 'NS', NODATA],
  [`web.demo.svc.${Z}`, 'MX', NODATA],
  [`web.demo.svc.${Z}`, 'TYPE65', NODATA],
  [`nope.demo.svc.${Z}`, 'TYPE65', NX],
  [Z, 'AXFR', 'REFUSED'],
  // pods
  [`10-244-1-5.default.pod.${Z}`, 'A', 'NOERROR | A 10.244.1.5'],
  [`1-2-3-4.demo.pod.${Z}`, 'A', 'NOERROR | A 1.2.3.4'],
  [`1-2-3-4.demo.pod.${Z}`, 'AAAA', NODATA],
  [`1-2-3-4.nope.pod.${Z}`, 'A', NX],
  [`fd00--1.demo.pod.${Z}`, 'AAAA', 'NOERROR | AAAA fd00::1'],
  [`web-x.demo.pod.${Z}`, 'A', NX],
  // reverse
  ['20.10.96.10.in-addr.arpa', 'PTR', `NOERROR | PTR web.demo.svc.${Z}.`],
  ['5.1.244.10.in-addr.arpa', 'PTR', `NOERROR | PTR web-0.nginx.default.svc.${Z}.`],
  ['7.2.244.10.in-addr.arpa', 'PTR', NX],
  ['1.244.10.in-addr.arpa', 'PTR', NX],
  [
    '0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa',
    'PTR',
    `NOERROR | PTR web.demo.svc.${Z}.`,
  ],
  // elsewhere
  ['example.org', 'A', 'REFUSED'],
];

describe('kubernetes', () => {
  let dns: DnsServer;
  let port: number;
  const api = cluster();

  beforeAll(async () => {
    const text = `${Z}:0 in-addr.arpa:0 ip6.arpa:0 {\n errors\n kubernetes {\n pods insecure\n ttl 30\n }\n loadbalance\n}`;
    dns = await startDns({ corefile: { text }, kube: api, hosts: ['127.0.0.1'] });
    port = dns.addresses[0]?.port as number;
  });
  afterAll(() => dns.close());

  it.each(TABLE)('%s %s -> %s', async (name, type, expected) => {
    expect(short(await ask(port, name, type))).toBe(expected);
  });

  it('gives the same over TCP', async () => {
    for (const [name, type, expected] of TABLE) {
      expect(`${name} ${type} ${short(await ask(port, name, type, { tcp: true }))}`).toBe(
        `${name} ${type} ${expected}`,
      );
    }
  });

  it('echoes the case of the question and answers with authority', async () => {
    const message = await ask(port, `Web.DEMO.svc.${Z}`);
    expect(message.answers.map(rrText)).toEqual([`Web.DEMO.svc.${Z}. 30 A 10.96.10.20`]);
    expect(message.flags & ~15).toBe(FLAG.QR | FLAG.AA | FLAG.RD);
  });

  it('adds the SOA record to what it denies, in the case of the question', async () => {
    const message = await ask(port, 'nope.demo.svc.Cluster.Local');
    expect(message.authority.map(rrText)).toEqual(['Cluster.Local. 30 SOA ns.dns.Cluster.Local.']);
    const again = await ask(port, `nope.demo.svc.${Z}`);
    expect(again.authority.map(rrText)).toEqual([`${Z}. 30 SOA ns.dns.${Z}.`]);
  });

  it('adds addresses to SRV records', async () => {
    const message = await ask(port, `web.demo.svc.${Z}`, 'SRV');
    expect(message.additional.map(rrText)).toEqual([
      `web.demo.svc.${Z}. 30 A 10.96.10.20`,
      `web.demo.svc.${Z}. 30 AAAA fd00::20`,
    ]);
  });

  it('keeps the version record for eight hours', async () => {
    const message = await ask(port, `dns-version.${Z}`, 'TXT');
    expect(message.answers.map(rrText)).toEqual([`dns-version.${Z}. 28800 TXT "1.1.0"`]);
  });

  it('says which objects stand behind an answer', () => {
    const [found] = dns.explain(`nginx.default.svc.${Z}.`);
    expect(found?.plugin).toBe('kubernetes');
    expect(found?.text).toEqual([
      'Service default/nginx',
      'EndpointSlice default/nginx-a endpoints[0] web-0',
      'EndpointSlice default/nginx-a endpoints[1] web-1',
      'EndpointSlice default/nginx-a endpoints[2]',
    ]);
    expect(dns.explain(`nope.demo.svc.${Z}`)).toEqual([]);
  });
});

it('answers without the chain are those of the chain, byte for byte', async () => {
  const api = cluster();
  const blocks = ['', ' hosts /none {\n fallthrough\n }\n'];
  const servers = await Promise.all(
    blocks.map((before) => {
      const text = `.:0 {\n errors\n${before} kubernetes ${Z} in-addr.arpa ip6.arpa {\n pods insecure\n fallthrough ip6.arpa\n }\n cache 30\n}`;
      return startDns({ corefile: { text }, kube: api, hosts: ['127.0.0.1'], clock: { now: () => 1_700_000_000_000 } });
    }),
  );
  const edns = { udpSize: 1232, options: Uint8Array.of(0, 10, 0, 2, 1, 2) };
  for (const [name, type] of TABLE) {
    for (const packet of [question(name, type), question(name.toUpperCase(), type, { edns })]) {
      const [one, two] = await Promise.all(
        servers.map((server) => exchangeUdp(server.addresses[0]?.port as number, packet)),
      );
      expect(`${name} ${type} ${one?.toString('hex')}`).toBe(`${name} ${type} ${two?.toString('hex')}`);
    }
  }
  await Promise.all(servers.map((server) => server.close()));
});

describe('kubernetes, watching', () => {
  async function serve(api: FakeApi, lines: string, block = 'cache 3600'): Promise<{ dns: DnsServer; port: number }> {
    const text = `.:0 {\n errors\n kubernetes ${Z} in-addr.arpa ip6.arpa {\n${lines}\n}\n${block}\n}`;
    const dns = await startDns({ corefile: { text }, kube: api, hosts: ['127.0.0.1'] });
    return { dns, port: dns.addresses[0]?.port as number };
  }

  /** Waits until a question has this answer; the watch is asynchronous, the test is not about how long it takes. */
  async function becomes(port: number, name: string, type: string, expected: string): Promise<void> {
    await expect.poll(async () => short(await ask(port, name, type)), { timeout: 3000, interval: 5 }).toBe(expected);
  }

  it('answers change with the objects, whatever the cache remembers', async () => {
    const api = cluster();
    const { dns, port } = await serve(api, 'pods insecure');
    const name = `new.demo.svc.${Z}`;
    expect(short(await ask(port, name))).toBe(NX);
    expect(short(await ask(port, '77.0.96.10.in-addr.arpa', 'PTR'))).toBe(NX);
    api.put('services', service('demo/new', { clusterIPs: ['10.96.0.77'], ports: [HTTP] }));
    await becomes(port, name, 'A', 'NOERROR | A 10.96.0.77');
    expect(short(await ask(port, '77.0.96.10.in-addr.arpa', 'PTR'))).toBe(`NOERROR | PTR new.demo.svc.${Z}.`);
    api.put('services', service('demo/new', { clusterIPs: ['10.96.0.78'], ports: [HTTP] }));
    await becomes(port, name, 'A', 'NOERROR | A 10.96.0.78');
    expect(short(await ask(port, '77.0.96.10.in-addr.arpa', 'PTR'))).toBe(NX);
    api.remove('services', 'demo/new');
    await becomes(port, name, 'A', NX);
    expect(short(await ask(port, '78.0.96.10.in-addr.arpa', 'PTR'))).toBe(NX);

    api.put('endpointslices', slice('default/nginx', [{ ip: '10.244.7.7' }], [], { suffix: 'b' }));
    await becomes(
      port,
      `nginx.default.svc.${Z}`,
      'A',
      'NOERROR | A 10.244.1.5 | A 10.244.2.6 | A 10.244.2.7 | A 10.244.7.7',
    );
    api.remove('endpointslices', 'default/nginx-a');
    await becomes(port, `nginx.default.svc.${Z}`, 'A', 'NOERROR | A 10.244.7.7');
    api.remove('namespaces', 'default');
    await becomes(port, `nginx.default.svc.${Z}`, 'A', NX);
    await dns.close();
  });

  it('knows pods when told to verify them', async () => {
    const api = cluster();
    const { dns, port } = await serve(api, 'pods insecure\nendpoint https://kubernetes.default.svc:443\npods verified');
    expect(short(await ask(port, `10-244-1-1.demo.pod.${Z}`))).toBe('NOERROR | A 10.244.1.1');
    expect(short(await ask(port, `10-244-1-1.default.pod.${Z}`))).toBe(NX);
    expect(short(await ask(port, `10-244-1-5.default.pod.${Z}`))).toBe(NX);
    api.put('pods', pod('default/web-0', '10.244.1.5'));
    await becomes(port, `10-244-1-5.default.pod.${Z}`, 'A', 'NOERROR | A 10.244.1.5');
    await dns.close();
  });

  it('serves only the namespaces it is told to', async () => {
    const { dns, port } = await serve(cluster(), 'namespaces default\nnamespaces kube-system');
    expect(short(await ask(port, `kubernetes.default.svc.${Z}`))).toBe('NOERROR | A 10.96.0.1');
    expect(short(await ask(port, `kube-dns.kube-system.svc.${Z}`))).toBe('NOERROR | A 10.96.0.10');
    expect(short(await ask(port, `web.demo.svc.${Z}`))).toBe(NX);
    expect(short(await ask(port, '20.10.96.10.in-addr.arpa', 'PTR'))).toBe(NX);
    await dns.close();
  });

  it.each([
    ['endpoint_pod_names', `web-x.web.demo.svc.${Z}`, 'NOERROR | A 10.244.1.1'],
    ['noendpoints', `nginx.default.svc.${Z}`, NX],
    ['ignore empty_service', `idle.demo.svc.${Z}`, NX],
    ['ignore empty_service', `web.demo.svc.${Z}`, 'NOERROR | A 10.96.10.20'],
    ['pods disabled', `1-2-3-4.demo.pod.${Z}`, NX],
    ['', `1-2-3-4.demo.pod.${Z}`, NX],
  ])('%s: %s', async (line, name, expected) => {
    const { dns, port } = await serve(cluster(), line);
    expect(short(await ask(port, name))).toBe(expected);
    await dns.close();
  });

  it('hands names that do not exist to the next plugin where told to', async () => {
    const { dns, port } = await serve(
      cluster(),
      'fallthrough in-addr.arpa',
      'hosts /none {\n 192.0.2.7 router.lan nope.demo.svc.cluster.local\n fallthrough\n}\nwhoami',
    );
    // hosts stands before kubernetes: the plugin behind it is whoami, which has no PTR records.
    expect(short(await ask(port, '7.2.0.192.in-addr.arpa', 'PTR'))).toBe(
      'NOERROR | PTR nope.demo.svc.cluster.local. | PTR router.lan.',
    );
    expect((await ask(port, '9.9.9.9.in-addr.arpa', 'PTR')).additional.map(rrText)[0]).toContain('A 127.0.0.1');
    expect(short(await ask(port, `other.demo.svc.${Z}`))).toBe(NX);
    await dns.close();
  });

  it('says SERVFAIL while it cannot know, and is not ready', async () => {
    const api = cluster();
    api.silent = true;
    const { dns, port } = await serve(api, 'startup_timeout 10ms');
    expect(dns.ready).toBe(false);
    const message = await ask(port, `web.demo.svc.${Z}`);
    expect([short(message), message.authority.length]).toEqual(['SERVFAIL', 1]);
    await dns.close();
  });
});
