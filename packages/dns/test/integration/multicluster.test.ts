import { afterEach, describe, expect, it } from 'vitest';
import { checkCorefile, type DnsServer, startDns } from '../../src/index.ts';
import { ask, rrText, short } from '../support/dig.ts';
import { FakeApi } from '../support/fake-api.ts';
import { namespace, service, slice } from '../support/objects.ts';

const running: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const stop of running.splice(0)) await stop();
});

async function serve(
  api: FakeApi,
  options: string,
  zones = 'cluster.local',
): Promise<{ dns: DnsServer; port: number }> {
  const text = `.:0 {\n kubernetes ${zones} {\n pods insecure\n ${options}\n }\n}`;
  const dns = await startDns({ corefile: { text }, hosts: ['127.0.0.1'], kube: api });
  running.push(() => dns.close());
  return { dns, port: dns.addresses[0]?.port as number };
}

const HTTP = { name: 'http', port: 80, protocol: 'TCP' };

describe('zonal names', () => {
  function cluster(): FakeApi {
    const api = new FakeApi();
    api.put('namespaces', namespace('demo'));
    api.put('services', service('demo/db'), service('demo/web', { clusterIPs: ['10.96.0.9'], ports: [HTTP] }));
    const endpoints = slice('demo/db', [{ ip: '10.244.0.1' }, { ip: '10.244.0.2' }, { ip: '10.244.0.3' }], [HTTP]);
    const [a, b] = endpoints['endpoints'] as Record<string, unknown>[];
    Object.assign(a as object, { zone: 'west-a' });
    Object.assign(b as object, { zone: 'corp.example.com' });
    api.put('endpointslices', endpoints);
    return api;
  }

  it.each([
    ['west-a.pin._zone.db.demo', 'A', 'NOERROR | A 10.244.0.1'],
    ['West-A.PIN._Zone.db.demo', 'A', 'NOERROR | A 10.244.0.1'],
    ['corp.example.com.pin._zone.db.demo', 'A', 'NOERROR | A 10.244.0.2'],
    ['west-a.prefer._zone.db.demo', 'A', 'NOERROR | A 10.244.0.1'],
    ['nowhere.pin._zone.db.demo', 'A', 'NOERROR'],
    ['nowhere.pin._zone.db.demo', 'TXT', 'NOERROR'],
    ['nowhere.pin._zone.db.demo', 'MX', 'NOERROR'],
    ['nowhere.prefer._zone.db.demo', 'A', 'NOERROR | A 10.244.0.1 | A 10.244.0.2 | A 10.244.0.3'],
    ['west-a.pin._zone.db.demo', 'SRV', 'NOERROR | SRV 0 100 80 10-244-0-1.db.demo.svc.cluster.local.'],
    ['west-a.near._zone.db.demo', 'A', 'NXDOMAIN'],
    ['west-a.pin.zone.db.demo', 'A', 'NXDOMAIN'],
    ['pin._zone.db.demo', 'A', 'NXDOMAIN'],
    ['west-a.pin._zone.web.demo', 'A', 'NXDOMAIN'],
    ['west-a.pin._zone.no.demo', 'A', 'NXDOMAIN'],
    ['west-a.pin._zone.db.no', 'A', 'NXDOMAIN'],
  ])('%s %s', async (name, type, expected) => {
    const { port } = await serve(cluster(), 'zonal');
    expect(short(await ask(port, `${name}.svc.cluster.local`, type))).toBe(expected);
  });

  it('are not there without the option, and follow the cluster with it', async () => {
    const api = cluster();
    const plain = await serve(api, '');
    const name = 'west-a.pin._zone.db.demo.svc.cluster.local';
    expect(short(await ask(plain.port, name))).toBe('NXDOMAIN');
    const { port } = await serve(api, 'zonal');
    expect(short(await ask(port, name))).toBe('NOERROR | A 10.244.0.1');
    const moved = slice('demo/db', [{ ip: '10.244.0.4' }], [HTTP]);
    Object.assign((moved['endpoints'] as object[])[0] as object, { zone: 'west-a' });
    api.put('endpointslices', moved);
    await expect.poll(async () => short(await ask(port, name))).toBe('NOERROR | A 10.244.0.4');
  });
});

describe('multicluster zones', () => {
  function fleet(): FakeApi {
    const api = new FakeApi();
    api.put('namespaces', namespace('demo'));
    api.put('services', service('demo/web', { clusterIPs: ['10.96.0.9'], ports: [HTTP] }));
    const imported = (name: string, spec: object): { metadata: { namespace: string; name: string }; spec: object } => ({
      metadata: { namespace: 'demo', name },
      spec,
    });
    api.put(
      'serviceimports',
      imported('shop', { type: 'ClusterSetIP', ips: ['10.112.0.5'], ports: [HTTP] }),
      imported('db', { type: 'Headless', ports: [HTTP] }),
    );
    for (const [cluster, ip] of [
      ['east', '10.1.0.1'],
      ['west', '10.2.0.1'],
    ] as const) {
      const made = slice('demo/db', [{ ip, hostname: 'db-0' }], [HTTP], { suffix: cluster });
      const labels = {
        'multicluster.kubernetes.io/service-name': 'db',
        'multicluster.kubernetes.io/source-cluster': cluster,
      };
      api.put('endpointslices', { ...made, metadata: { ...made.metadata, labels } } as typeof made);
    }
    return api;
  }
  const ZONES = 'cluster.local clusterset.local';

  it.each([
    ['shop.demo.svc.clusterset.local', 'A', 'NOERROR | A 10.112.0.5'],
    ['_http._tcp.shop.demo.svc.clusterset.local', 'SRV', 'NOERROR | SRV 0 100 80 shop.demo.svc.clusterset.local.'],
    ['db.demo.svc.clusterset.local', 'A', 'NOERROR | A 10.1.0.1 | A 10.2.0.1'],
    ['db-0.east.db.demo.svc.clusterset.local', 'A', 'NOERROR | A 10.1.0.1'],
    ['db-0.west.db.demo.svc.clusterset.local', 'A', 'NOERROR | A 10.2.0.1'],
    ['db-0.north.db.demo.svc.clusterset.local', 'A', 'NXDOMAIN'],
    ['db-0.db.demo.svc.clusterset.local', 'A', 'NXDOMAIN'],
    [
      'db.demo.svc.clusterset.local',
      'SRV',
      'NOERROR | SRV 0 50 80 db-0.east.db.demo.svc.clusterset.local. | SRV 0 50 80 db-0.west.db.demo.svc.clusterset.local.',
    ],
    ['web.demo.svc.clusterset.local', 'A', 'NXDOMAIN'],
    ['web.demo.svc.cluster.local', 'A', 'NOERROR | A 10.96.0.9'],
    ['shop.demo.svc.cluster.local', 'A', 'NXDOMAIN'],
    ['1-2-3-4.demo.pod.clusterset.local', 'A', 'NOERROR | A 1.2.3.4'],
    ['demo.svc.clusterset.local', 'A', 'NOERROR'],
    ['no.svc.clusterset.local', 'A', 'NXDOMAIN'],
  ])('%s %s', async (name, type, expected) => {
    const { port } = await serve(fleet(), 'multicluster clusterset.local', ZONES);
    expect(short(await ask(port, name, type))).toBe(expected);
  });

  it('have their own SOA, and say which objects are behind an answer', async () => {
    const { dns, port } = await serve(fleet(), 'multicluster clusterset.local', ZONES);
    const gone = await ask(port, 'no.demo.svc.clusterset.local');
    expect(gone.authority.map(rrText)).toEqual([
      expect.stringContaining('clusterset.local. 5 SOA ns.dns.clusterset.local.'),
    ]);
    expect(dns.explain('shop.demo.svc.clusterset.local')[0]?.causes[0]).toMatchObject({
      kind: 'ServiceImport',
      name: 'shop',
    });
  });

  it('a narrower zone is asked before the wider one', async () => {
    const { port } = await serve(fleet(), 'multicluster set.cluster.local', 'cluster.local set.cluster.local');
    expect(short(await ask(port, 'shop.demo.svc.set.cluster.local'))).toBe('NOERROR | A 10.112.0.5');
    expect(short(await ask(port, 'web.demo.svc.cluster.local'))).toBe('NOERROR | A 10.96.0.9');
  });

  it.each([
    [
      'multicluster other.local',
      'is not authoritative for the multicluster zone other.local. (authoritative zones: [cluster.local.])',
    ],
    ['zonal\n noendpoints', 'zonal requires the endpoint cache; remove noendpoints'],
    ['zonal yes', "Wrong argument count or unexpected line ending after 'yes'"],
  ])('%j is refused', (option, message) => {
    expect(checkCorefile(`. {\n kubernetes cluster.local {\n ${option}\n }\n}`)).toMatchObject([
      { message: expect.stringContaining(message) },
    ]);
  });
});
