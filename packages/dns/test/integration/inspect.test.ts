import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type DnsServer, type Inspected, type Recording, startDns } from '../../src/index.ts';
import { ask } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';

const ADDRESS = '127.0.0.1:0';
let server: DnsServer;
let base: string;

async function get<T>(path: string, init?: RequestInit): Promise<{ status: number; body: T }> {
  const response = await fetch(`${base}${path}`, init);
  return { status: response.status, body: (await response.json()) as T };
}

beforeAll(async () => {
  const api = new FakeApi();
  api.put('namespaces', namespace('demo'));
  api.put('services', service('demo/web', { clusterIPs: ['10.96.10.20'], ports: [{ name: 'http', port: 80 }] }));
  api.put('endpointslices', slice('demo/web', [{ ip: '10.244.1.1', pod: 'web-x' }], [{ name: 'http', port: 80 }]));
  const text = `.:0 {\n kubernetes cluster.local in-addr.arpa\n hosts {\n 192.0.2.1 other.example\n fallthrough cluster.local in-addr.arpa\n }\n}\n`;
  server = await startDns({ corefile: { text }, kube: api, hosts: ['127.0.0.1'], inspect: ADDRESS });
  base = `http://127.0.0.1:${server.httpPorts[ADDRESS]}`;
});
afterAll(() => server.close());

describe('/query', () => {
  it.each([
    ['web.demo.svc.cluster.local', 'A', 'NOERROR', 'kubernetes', ['Service demo/web', 'EndpointSlice']],
    ['20.10.96.10.in-addr.arpa', 'PTR', 'NOERROR', 'kubernetes', ['Service demo/web']],
    ['nothing.demo.svc.cluster.local', 'A', 'NXDOMAIN', 'kubernetes', []],
    ['other.example', 'A', 'NOERROR', 'hosts', []],
    ['unknown.example', 'A', 'SERVFAIL', 'hosts', []],
  ])('%s %s', async (name, type, rcode, plugin, objects) => {
    const { body } = await get<Inspected>(`/query?name=${name}&type=${type}&client=10.244.1.9`);
    expect(body).toMatchObject({ name: `${name}.`, type, rcode, plugin, zone: '.' });
    const found = body.objects.map((o) => `${o.kind} ${o.namespace}/${o.name}`);
    for (const object of objects) expect(found.some((text) => text.startsWith(object))).toBe(true);
    if (objects.length === 0) expect(found).toEqual([]);
  });

  it('gives records in text', async () => {
    const { body } = await get<Inspected>('/query?name=_http._tcp.web.demo.svc.cluster.local&type=srv');
    expect(body.answers).toEqual([
      {
        name: '_http._tcp.web.demo.svc.cluster.local.',
        ttl: 5,
        type: 'SRV',
        data: '0 100 80 web.demo.svc.cluster.local.',
      },
    ]);
  });

  it.each([
    ['/query?name=a..b', {}, 400],
    ['/query?name=a&type=NONSENSE', {}, 400],
    ['/query?name=a&client=me', {}, 400],
    ['/query?name=a', { method: 'POST' }, 403],
    ['/query?name=a', { headers: { origin: 'https://evil.example' } }, 403],
    ['/top?for=0', {}, 400],
    ['/top?for=1&limit=0', {}, 400],
  ] as const)('refuses %s %j', async (path, init, status) => {
    expect((await get<unknown>(path, init)).status).toBe(status);
  });
});

describe('/top', () => {
  it('counts names, clients, and what the search path costs, while it looks', async () => {
    const { port } = server.addresses[0] as { port: number };
    const recording = get<Recording>('/top?for=1');
    // The recording has begun when the server counts: ask until it must have.
    const until = Date.now() + 900;
    let asked = 0;
    while (Date.now() < until) {
      await ask(port, 'web.demo.svc.cluster.local');
      await ask(port, 'www.example.com.demo.svc.cluster.local');
      await ask(port, 'www.example.com.cluster.local');
      asked += 3;
    }
    const { body } = await recording;
    expect(body.queries).toBeGreaterThan(0);
    expect(body.queries).toBeLessThanOrEqual(asked);
    expect(body.names.map((n) => n.name).sort()).toEqual([
      'web.demo.svc.cluster.local.',
      'www.example.com.cluster.local.',
      'www.example.com.demo.svc.cluster.local.',
    ]);
    expect(body.clients).toEqual([{ client: '127.0.0.1', count: body.queries, nxdomain: body.nxdomain }]);
    expect(body.suffixes.map((s) => s.suffix).sort()).toEqual(['cluster.local.', 'demo.svc.cluster.local.']);
    expect(body.suffixes.reduce((sum, s) => sum + s.count, 0)).toBe(body.nxdomain);
  });
});
