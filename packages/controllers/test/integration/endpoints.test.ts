import { type EndpointSlice, type Pod, resources, type Service } from '@weft/kube';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { type RunningControllers, startControllers } from '../../src/index.ts';
import { podTemplate, TestCluster } from '../support/cluster.ts';

// A machine that is busy with other things must not fail these.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: TestCluster;
let running: RunningControllers;

beforeEach(async () => {
  cluster = await TestCluster.start();
  running = await startControllers({ ...cluster.common, clusterCidrs: ['10.244.0.0/16'], nodeCidrMaskSize: 24 });
});
afterEach(() => cluster.stop());

const slicesOf = (service: string): Promise<EndpointSlice[]> =>
  cluster.list(resources.endpointslices, `kubernetes.io/service-name=${service}`);

function service(name: string, spec: Partial<Service['spec']> = {}): Promise<Service> {
  return cluster.create(resources.services, {
    metadata: { name, labels: { tier: 'front' } },
    spec: { selector: { app: name }, ports: [{ name: 'http', port: 80, targetPort: 'http' }], ...spec },
  });
}

async function runningPod(name: string, app: string, ip: string, ready = true): Promise<Pod> {
  const { metadata, spec } = podTemplate(app);
  const pod = await cluster.create(resources.pods, {
    metadata: { ...metadata, name },
    spec: { ...spec, nodeName: 'n1' },
  });
  return cluster.run(pod, ip, ready);
}

describe('endpoints', () => {
  test('Endpoints that somebody made without a Service stay, until a Service of their name comes and goes', async () => {
    await cluster.create(resources.endpoints, {
      metadata: { name: 'lonely' },
      subsets: [{ addresses: [{ ip: '10.9.9.9' }], ports: [{ port: 80 }] }],
    });
    // Another Service's Endpoints appear: the controller has come by.
    await service('other');
    await cluster.until(() => cluster.get(resources.endpoints, 'other').catch(() => undefined));
    await running.idle();
    expect((await cluster.get(resources.endpoints, 'lonely')).subsets?.[0]?.addresses?.[0]?.ip).toBe('10.9.9.9');
    await cluster.create(resources.services, { metadata: { name: 'lonely' }, spec: { ports: [{ port: 80 }] } });
    await running.idle();
    await cluster.client.delete(resources.services, 'default', 'lonely');
    await cluster.until(async () => {
      const left = await cluster.list(resources.endpoints);
      return !left.some((e) => e.metadata.name === 'lonely');
    });
  });

  test('a Service without pods has one empty slice, which its first pod fills', async () => {
    await cluster.node('n1', { labels: { 'topology.kubernetes.io/zone': 'z1' } });
    const web = await service('web');
    const [empty] = await cluster.until(async () => (await slicesOf('web')).length === 1 && slicesOf('web'));
    expect(empty?.endpoints ?? []).toEqual([]);
    const pod = await runningPod('a', 'web', '10.244.0.5');
    const slice = await cluster.until(async () => (await slicesOf('web')).find((s) => s.endpoints?.length === 1));
    expect(slice.metadata.name).toBe(empty?.metadata.name);
    expect(slice).toMatchObject({
      addressType: 'IPv4',
      ports: [{ name: 'http', port: 80, protocol: 'TCP' }],
      endpoints: [
        {
          addresses: ['10.244.0.5'],
          conditions: { ready: true, serving: true, terminating: false },
          nodeName: 'n1',
          zone: 'z1',
          targetRef: { kind: 'Pod', namespace: 'default', name: 'a', uid: pod.metadata.uid },
        },
      ],
      metadata: {
        labels: {
          tier: 'front',
          'kubernetes.io/service-name': 'web',
          'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        },
        ownerReferences: [{ kind: 'Service', name: 'web', uid: web.metadata.uid, controller: true }],
      },
    });
    expect(slice.metadata.annotations?.['endpoints.kubernetes.io/last-change-trigger-time']).toMatch(/^20/);
    const endpoints = await cluster.until(async () => {
      const object = await cluster.get(resources.endpoints, 'web').catch(() => undefined);
      return object?.subsets?.length === 1 && object;
    });
    expect(endpoints.subsets).toMatchObject([
      { addresses: [{ ip: '10.244.0.5', nodeName: 'n1' }], ports: [{ name: 'http', port: 80, protocol: 'TCP' }] },
    ]);
  });

  test('readiness and termination show in the conditions', async () => {
    await cluster.node('n1');
    await service('web');
    const pod = await runningPod('a', 'web', '10.244.0.5', false);
    const conditions = async (): Promise<unknown> => (await slicesOf('web'))[0]?.endpoints?.[0]?.conditions;
    const become = (ready: boolean, serving: boolean, terminating: boolean): Promise<unknown> =>
      cluster.until(async () => {
        const found = await conditions();
        return JSON.stringify(found) === JSON.stringify({ ready, serving, terminating });
      });
    await become(false, false, false);
    await cluster.run(pod, '10.244.0.5', true);
    await become(true, true, false);
    await cluster.client.delete(resources.pods, 'default', 'a');
    await become(false, true, true);
    await cluster.client.delete(resources.pods, 'default', 'a', { gracePeriodSeconds: 0 });
    await cluster.until(async () => ((await slicesOf('web'))[0]?.endpoints ?? []).length === 0);
  });

  test('250 pods make three slices, and one more pod changes one of them', async () => {
    await cluster.node('n1');
    await service('web');
    const total = async (): Promise<number> =>
      (await slicesOf('web')).reduce((n, s) => n + (s.endpoints?.length ?? 0), 0);
    await Promise.all(
      Array.from({ length: 250 }, (_, i) => runningPod(`p${i}`, 'web', `10.244.${i >> 7}.${(i & 127) + 1}`)),
    );
    await cluster.until(async () => (await total()) === 250);
    const before = await slicesOf('web');
    for (const slice of before) expect(slice.endpoints?.length).toBeLessThanOrEqual(100);
    await runningPod('more', 'web', '10.244.9.9');
    await cluster.until(async () => (await total()) === 251);
    const versions = new Map(before.map((s) => [s.metadata.name, s.metadata.resourceVersion]));
    const after = await slicesOf('web');
    expect(after.filter((s) => versions.get(s.metadata.name) !== s.metadata.resourceVersion)).toHaveLength(1);
  });

  test('Endpoints written by hand are mirrored, and go when they go', async () => {
    await cluster.create(resources.services, { metadata: { name: 'ext' }, spec: { ports: [{ port: 5432 }] } });
    await cluster.create(resources.endpoints, {
      metadata: { name: 'ext' },
      subsets: [
        { addresses: [{ ip: '192.0.2.7' }], notReadyAddresses: [{ ip: '192.0.2.8' }], ports: [{ port: 5432 }] },
      ],
    });
    const [slice] = await cluster.until(async () => (await slicesOf('ext')).length > 0 && slicesOf('ext'));
    expect(slice).toMatchObject({
      endpoints: [
        { addresses: ['192.0.2.7'], conditions: { ready: true } },
        { addresses: ['192.0.2.8'], conditions: { ready: false } },
      ],
      ports: [{ port: 5432 }],
      metadata: {
        labels: { 'endpointslice.kubernetes.io/managed-by': 'endpointslicemirroring-controller.k8s.io' },
      },
    });
    await cluster.client.delete(resources.services, 'default', 'ext');
    await cluster.until(async () => (await slicesOf('ext')).length === 0);
    await cluster.until(async () => (await cluster.list(resources.endpoints)).every((e) => e.metadata.name !== 'ext'));
  });

  test('every node gets a block of its own', async () => {
    await Promise.all(Array.from({ length: 20 }, (_, i) => cluster.node(`n${i}`)));
    const nodes = await cluster.until(async () => {
      const all = await cluster.list(resources.nodes);
      return all.every((n) => n.spec?.podCIDR !== undefined) && all;
    });
    expect(new Set(nodes.map((n) => n.spec?.podCIDR)).size).toBe(20);
  });

  test('an Ingress says that nothing serves it', async () => {
    await cluster.create(resources.ingresses, {
      metadata: { name: 'shop' },
      spec: { defaultBackend: { service: { name: 'web', port: { number: 80 } } } },
    });
    await cluster.until(async () => (await cluster.events('shop')).some((e) => e.startsWith('Warning NotEnforced')));
    await running.idle();
    const ingress = await cluster.get(resources.ingresses, 'shop');
    expect(ingress.metadata.annotations?.['weft.dev/not-enforced']).toContain('generation 1: ');
  });
});
