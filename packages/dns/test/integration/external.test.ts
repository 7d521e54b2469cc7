import { afterEach, describe, expect, it, vi } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { ask, rrText, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';

let dns: DnsServer | undefined;
afterEach(async () => {
  await dns?.close();
});

const PORTS = [
  { name: 'http', port: 80 },
  { name: 'https', port: 443 },
];

function balanced(key: string, ingress: { ip?: string; hostname?: string }[], externalIPs: string[] = []) {
  const made = service(key, { clusterIPs: ['10.96.0.5'], ports: PORTS });
  return { ...made, spec: { ...(made.spec as object), externalIPs }, status: { loadBalancer: { ingress } } };
}

async function serve(options = ''): Promise<{ api: FakeApi; port: number }> {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  api.put('services', balanced('default/web', [{ ip: '203.0.113.1' }, { ip: '2001:db8::1' }], ['203.0.113.9']));
  api.put('services', balanced('default/named', [{ hostname: 'lb.cloud.test' }]));
  api.put('services', balanced('default/inside', []));
  api.put('services', balanced('gone/web', [{ ip: '203.0.113.7' }]));
  api.put('services', service('default/db'));
  api.put(
    'endpointslices',
    slice('default/db', [{ ip: '10.244.0.7', hostname: 'db-0' }], [{ name: 'sql', port: 5432 }]),
  );
  const text = [
    '.:0 {',
    ` k8s_external example.org {\n${options} }`,
    ' kubernetes cluster.local',
    ' template IN A cloud.test {\n  answer "{{ .Name }} 60 IN A 198.51.100.1"\n }',
    '}',
  ].join('\n');
  dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], kube: api });
  return { api, port: dns.addresses[0]?.port as number };
}

const SOA = 'example.org. 5 SOA ns1.dns.example.org.';

describe('k8s_external', () => {
  it.each([
    ['web.default', 'A', 'NOERROR | A 203.0.113.1 | A 203.0.113.9'],
    ['WEB.default', 'AAAA', 'NOERROR | AAAA 2001:db8::1'],
    ['named.default', 'A', 'NOERROR | A 198.51.100.1 | CNAME lb.cloud.test.'],
    ['_http._tcp.web.default', 'A', 'NOERROR | A 203.0.113.1 | A 203.0.113.9'],
    ['_http._tcp.web.default', 'SRV', 'NOERROR | SRV 0 33 80 web.default.example.org.'],
    ['_dns._tcp.web.default', 'SRV', 'NXDOMAIN'],
    ['_http._udp.web.default', 'SRV', 'NXDOMAIN'],
    ['web.default', 'SRV', 'NOERROR | SRV 0 16 443 web.default.example.org. | SRV 0 16 80 web.default.example.org.'],
    ['web.default', 'TXT', 'NOERROR'],
    ['default', 'A', 'NOERROR'],
    ['gone', 'A', 'NXDOMAIN'],
    ['web.gone', 'A', 'NXDOMAIN'],
    ['inside.default', 'A', 'NXDOMAIN'],
    ['db.default', 'A', 'NXDOMAIN'],
    ['x.web.default', 'A', 'NXDOMAIN'],
    ['a.b.c.web.default', 'A', 'NXDOMAIN'],
    ['dns', 'A', 'NOERROR'],
    ['other.dns', 'A', 'NXDOMAIN'],
  ])('%s %s', async (name, type, expected) => {
    const { port } = await serve();
    const message = await ask(port, `${name}.example.org.`, type);
    expect(short(message)).toBe(expected);
    expect(message.authority.map(rrText)).toEqual(message.answers.length === 0 ? [SOA] : []);
  });

  it('answers for its apex, and leaves other zones alone', async () => {
    const { port } = await serve();
    expect(short(await ask(port, 'example.org.', 'SOA'))).toBe('NOERROR | SOA ns1.dns.example.org.');
    expect(short(await ask(port, 'example.org.', 'NS'))).toBe('NOERROR | NS ns1.dns.example.org.');
    expect(short(await ask(port, 'example.org.', 'A'))).toBe('NOERROR');
    expect(short(await ask(port, 'web.default.svc.cluster.local.'))).toBe('NOERROR | A 10.96.0.5');
  });

  it('has headless Services when told', async () => {
    const { port } = await serve('  headless\n');
    expect(short(await ask(port, 'db.default.example.org.'))).toBe('NOERROR | A 10.244.0.7');
    expect(short(await ask(port, 'db-0.db.default.example.org.'))).toBe('NOERROR | A 10.244.0.7');
    expect(short(await ask(port, 'inside.default.example.org.'))).toBe('NXDOMAIN');
  });

  it('follows the cluster, with its own TTL and apex', async () => {
    const { api, port } = await serve('  ttl 30\n  apex ns\n');
    expect((await ask(port, 'web.default.example.org.', 'AAAA')).answers.map(rrText)).toEqual([
      'web.default.example.org. 30 AAAA 2001:db8::1',
    ]);
    expect(short(await ask(port, 'example.org.', 'SOA'))).toBe('NOERROR | SOA ns1.ns.example.org.');
    api.put('services', balanced('default/web', [{ ip: '203.0.113.2' }]));
    await vi.waitFor(
      async () => expect(short(await ask(port, 'web.default.example.org.'))).toBe('NOERROR | A 203.0.113.2'),
      { timeout: 5000 },
    );
  });

  it('falls through when told', async () => {
    const { port } = await serve('  fallthrough\n');
    expect(short(await ask(port, 'nope.default.example.org.'))).toBe('REFUSED');
  });

  it.each([
    ['k8s_external\n whoami', 'no kubernetes plugin in this block'],
    ['kubernetes c.local\n k8s_external {\n  ttl 9999\n }', 'ttl must be in range [0, 3600]'],
    ['kubernetes c.local\n k8s_external {\n  apex\n }', 'Wrong argument count'],
    ['kubernetes c.local\n k8s_external {\n  apex a..b\n }', "unexpected line ending after 'apex'"],
  ])('%j is refused', (text, message) => {
    expect(checkCorefile(`. {\n ${text}\n}`)[0]?.message).toContain(message);
  });
});
