import { afterEach, describe, expect, it, vi } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { FLAG, TYPE } from '../../src/wire/index.ts';
import { ask, exchangeUdp, question, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';

let dns: DnsServer | undefined;
afterEach(async () => {
  await dns?.close();
});

function cluster(): FakeApi {
  const api = new FakeApi();
  api.put('namespaces', namespace('default'));
  api.put('services', service('default/web', { clusterIPs: ['10.96.0.5'], ports: [{ port: 80 }] }));
  api.put('services', service('default/db'));
  return api;
}

async function serve(api: FakeApi, text: string): Promise<number> {
  dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], kube: api });
  return dns.addresses[0]?.port as number;
}

const WEB = 'web.default.svc.cluster.local.';
const NEW = 'new.default.svc.cluster.local.';

describe('what hurts users of cluster DNS', () => {
  it('names of the cluster never come stale out of a cache', async () => {
    const api = cluster();
    const port = await serve(api, '.:0 {\n log\n kubernetes cluster.local {\n  ttl 3600\n }\n cache 3600\n}');
    expect(short(await ask(port, NEW))).toBe('NXDOMAIN');
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.5');
    api.put('services', service('default/new', { clusterIPs: ['10.96.0.6'], ports: [{ port: 80 }] }));
    api.put('services', service('default/web', { clusterIPs: ['10.96.0.7'], ports: [{ port: 80 }] }));
    await vi.waitFor(async () => expect(short(await ask(port, NEW))).toBe('NOERROR | A 10.96.0.6'), { timeout: 5000 });
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.7');
    api.remove('services', 'default/new');
    await vi.waitFor(async () => expect(short(await ask(port, NEW))).toBe('NXDOMAIN'), { timeout: 5000 });
  });

  it('answers go on while the API server is away', async () => {
    const api = cluster();
    const port = await serve(api, '.:0 {\n kubernetes cluster.local\n}');
    api.disconnect();
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.5');
    expect(short(await ask(port, NEW))).toBe('NXDOMAIN');
  });

  it('a headless Service of 100,000 endpoints has answers of bounded size', { timeout: 60_000 }, async () => {
    const api = cluster();
    for (let i = 0; i < 100; i++) {
      const endpoints = Array.from({ length: 1000 }, (_, j) => ({ ip: `10.${i}.${j >> 8}.${j & 255}` }));
      api.put('endpointslices', slice('default/db', endpoints, [{ name: 'sql', port: 5432 }], { suffix: String(i) }));
    }
    const port = await serve(api, '.:0 {\n loadbalance\n kubernetes cluster.local\n}');
    for (const type of ['A', 'SRV']) {
      const small = await exchangeUdp(port, question('db.default.svc.cluster.local.', type));
      expect((small as Buffer).length).toBeLessThanOrEqual(512);
      expect((small as Buffer).readUInt16BE(2) & FLAG.TC).not.toBe(0);
      const large = await ask(port, 'db.default.svc.cluster.local.', type, { tcp: true });
      expect(large.flags & FLAG.TC).not.toBe(0);
      expect(large.answers.length).toBeGreaterThan(1000);
      expect(large.answers.every((rr) => rr.type === (type === 'A' ? TYPE.A : TYPE.SRV))).toBe(true);
    }
    expect(short(await ask(port, WEB))).toBe('NOERROR | A 10.96.0.5');
  });

  it('tells how long endpoints took to be answered', async () => {
    const api = cluster();
    const port = await serve(api, '.:0 {\n prometheus :0\n kubernetes cluster.local\n}');
    const made = slice('default/db', [{ ip: '10.1.1.1' }]);
    const annotations = { 'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString() };
    api.put('endpointslices', { ...made, metadata: { ...made.metadata, annotations } as typeof made.metadata });
    await vi.waitFor(
      async () => expect(short(await ask(port, 'db.default.svc.cluster.local.'))).toBe('NOERROR | A 10.1.1.1'),
      { timeout: 5000 },
    );
    const response = await fetch(`http://127.0.0.1:${dns?.httpPorts[':0']}/metrics`);
    expect(await response.text()).toContain(
      'coredns_kubernetes_dns_programming_duration_seconds_count{service_kind="headless_with_selector"} 1\n',
    );
  });
});

describe('options that CoreDNS has no more', () => {
  it.each([
    ['resyncperiod 5m', 'changes are watched'],
    ['upstream', 'resolved by the server itself'],
    ['transfer to *', 'use the plugin transfer'],
  ])('%s is refused, with what to do instead', (line, hint) => {
    const [found] = checkCorefile(`. {\n kubernetes cluster.local {\n  ${line}\n }\n}`);
    expect(found?.message).toContain(`Corefile:3 - Error during parsing: unknown property '${line.split(' ')[0]}'`);
    expect(found?.hint).toContain(hint);
  });
});
