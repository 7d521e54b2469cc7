import { type KubeObject, type Node, resources, resourceType } from '@weft/kube';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { startWorkloads } from '../../src/controllers/index.ts';
import { Kubelets, podTemplate, TestCluster } from './cluster.ts';

// A machine that is busy with other things must not fail these.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let cluster: TestCluster;
let kubelets: Kubelets;

beforeEach(async () => {
  cluster = await TestCluster.start();
  kubelets = new Kubelets(cluster);
  await Promise.all(['n1', 'n2'].map((name) => cluster.node(name)));
  await startWorkloads(cluster.common);
});
afterEach(() => cluster.stop());

async function web(): Promise<void> {
  await cluster.create(resources.deployments, {
    metadata: { name: 'web' },
    spec: { replicas: 2, selector: { matchLabels: { app: 'web' } }, template: podTemplate('web') },
  });
  await cluster.until(async () => (await cluster.get(resources.deployments, 'web')).status?.availableReplicas === 2);
}

const count = async (): Promise<number[]> => [
  (await cluster.list(resources.deployments)).length,
  (await cluster.list(resources.replicasets)).length,
  (await cluster.list(resources.pods)).length,
];

describe('garbage collector', () => {
  test('takes ReplicaSet and pods after their Deployment', async () => {
    await web();
    await cluster.client.delete(resources.deployments, 'default', 'web', { propagationPolicy: 'Background' });
    await cluster.until(async () => (await count()).join() === '0,0,0');
  });

  test('takes them before it when the deletion is in the foreground', async () => {
    await web();
    const order: string[] = [];
    kubelets.pods.on({ delete: () => void order.push('pod') });
    await cluster.client.delete(resources.deployments, 'default', 'web', { propagationPolicy: 'Foreground' });
    const deployment = await cluster.get(resources.deployments, 'web');
    expect(deployment.metadata.finalizers).toEqual(['foregroundDeletion']);
    await cluster.until(async () => {
      const [deployments, sets, pods] = await count();
      if (deployments === 0) order.push('deployment');
      return deployments === 0 && sets === 0 && pods === 0;
    });
    await cluster.until(async () => order.includes('deployment') && order.filter((o) => o === 'pod').length === 2);
    expect(order.indexOf('deployment')).toBe(2);
  });

  test('leaves orphans without owner', async () => {
    await web();
    await cluster.client.delete(resources.deployments, 'default', 'web', { propagationPolicy: 'Orphan' });
    await cluster.until(async () => (await count()).join() === '0,1,2');
    const [set] = await cluster.list(resources.replicasets);
    expect(set?.metadata.ownerReferences).toBeUndefined();
    const pods = await cluster.list(resources.pods);
    expect(pods.every((p) => p.metadata.ownerReferences?.[0]?.uid === set?.metadata.uid)).toBe(true);
  });

  test('deletes what names an owner that never was, and spares what has another', async () => {
    const owner = await cluster.create(resources.configmaps, { metadata: { name: 'owner' } });
    const reference = (uid: string): object => ({ apiVersion: 'v1', kind: 'ConfigMap', name: 'owner', uid });
    const make = (name: string, ...refs: object[]): Promise<unknown> =>
      cluster.create(resources.secrets, { metadata: { name, ownerReferences: refs as never } });
    await make('kept', reference(owner.metadata.uid ?? ''), reference('00000000-0000-0000-0000-000000000001'));
    await make('lost', reference('00000000-0000-0000-0000-000000000002'));
    await cluster.until(async () => (await cluster.list(resources.secrets)).every((s) => s.metadata.name !== 'lost'));
    await cluster.until(
      async () => (await cluster.get(resources.secrets, 'kept')).metadata.ownerReferences?.length === 1,
    );
    await cluster.client.delete(resources.configmaps, 'default', 'owner');
    await cluster.until(async () => (await cluster.list(resources.secrets)).length === 0);
  });
});

test('the garbage collector knows custom kinds, and forgets them', async () => {
  const names = { plural: 'widgets', singular: 'widget', kind: 'Widget', listKind: 'WidgetList' };
  const schema = { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } };
  const version = { name: 'v1', served: true, storage: true, schema };
  await cluster.create(resources.customresourcedefinitions, {
    metadata: { name: 'widgets.example.com' },
    spec: { group: 'example.com', scope: 'Namespaced', names, versions: [version as never] },
  });
  const widgets = resourceType({
    group: 'example.com',
    version: 'v1',
    plural: 'widgets',
    kind: 'Widget',
    namespaced: true,
  });
  const make = async (): Promise<KubeObject | undefined> =>
    cluster.create(widgets, { metadata: { name: 'w' } }).catch(() => undefined);
  const widget = await cluster.until(make);
  const reference = { apiVersion: 'example.com/v1', kind: 'Widget', name: 'w', uid: widget.metadata.uid ?? '' };
  await cluster.create(resources.configmaps, { metadata: { name: 'of-w', ownerReferences: [reference] } });
  const owned = async (): Promise<boolean> =>
    (await cluster.list(resources.configmaps)).some((c) => c.metadata.name === 'of-w');
  expect(await owned()).toBe(true);
  await cluster.client.delete(widgets, 'default', 'w');
  await cluster.until(async () => !(await owned()));
  await cluster.client.delete(resources.customresourcedefinitions, undefined, 'widgets.example.com');
  await cluster.until(async () => (await cluster.list(resources.customresourcedefinitions)).length === 0);
});

describe('node lifecycle', () => {
  const setReady = (name: string, status: 'True' | 'Unknown'): Promise<Node> =>
    cluster.client.patch(
      resources.nodes,
      undefined,
      name,
      { status: { conditions: [{ type: 'Ready', status, reason: 'x', message: 'x' }] } },
      { subresource: 'status' },
    );
  const taintsOf = async (name: string): Promise<string[]> =>
    ((await cluster.get(resources.nodes, name)).spec?.taints ?? []).map((t) => `${t.key}:${t.effect}`);

  test('an unreachable node is tainted and its pods are not ready; recovery takes that back', async () => {
    await web();
    kubelets.dead.add('n1');
    await setReady('n1', 'Unknown');
    await cluster.until(async () =>
      (await cluster.list(resources.pods)).some(
        (p) =>
          p.spec.nodeName === 'n1' && p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'False'),
      ),
    );
    await cluster.until(async () => (await taintsOf('n1')).length === 2);
    expect(await taintsOf('n1')).toEqual([
      'node.kubernetes.io/unreachable:NoSchedule',
      'node.kubernetes.io/unreachable:NoExecute',
    ]);
    const others = (await cluster.list(resources.pods)).filter((p) => p.spec.nodeName === 'n2');
    expect(others[0]?.status?.conditions?.find((c) => c.type === 'Ready')?.status).toBe('True');
    await setReady('n1', 'True');
    await cluster.until(async () => (await taintsOf('n1')).length === 0);
  });

  test('a pod that does not tolerate the taint is evicted and replaced elsewhere', async () => {
    await web();
    const taints = [{ key: 'away', effect: 'NoExecute', timeAdded: new Date().toISOString() }];
    await cluster.client.patch(resources.nodes, undefined, 'n1', { spec: { taints } });
    await cluster.until(async () => {
      const pods = await cluster.list(resources.pods);
      return pods.length === 2 && pods.every((p) => p.spec.nodeName === 'n2');
    });
    const events = await cluster.client.list(resources.events, 'default');
    expect(events.items.some((e) => e.reason === 'TaintManagerEviction')).toBe(true);
  });

  test('cordon is a taint as well', async () => {
    await cluster.client.patch(resources.nodes, undefined, 'n1', { spec: { unschedulable: true } });
    await cluster.until(async () => (await taintsOf('n1')).join() === 'node.kubernetes.io/unschedulable:NoSchedule');
    await cluster.client.patch(resources.nodes, undefined, 'n1', { spec: { unschedulable: null } });
    await cluster.until(async () => (await taintsOf('n1')).length === 0);
  });

  test('pods of a deleted node are removed', async () => {
    await web();
    kubelets.dead.add('n1');
    await cluster.client.delete(resources.nodes, undefined, 'n1');
    await cluster.until(async () => {
      const pods = await cluster.list(resources.pods);
      return pods.length === 2 && pods.every((p) => p.spec.nodeName === 'n2');
    });
  });
});

test('a silent node becomes Unknown', async () => {
  const quiet = await TestCluster.start();
  try {
    await quiet.node('n1');
    await startWorkloads({ ...quiet.common, nodeGraceMs: 100 });
    const node = await quiet.until(async () => {
      const found = await quiet.get(resources.nodes, 'n1');
      return found.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'Unknown') && found;
    });
    expect(node.status?.conditions?.find((c) => c.type === 'Ready')).toMatchObject({
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
    });
    expect(await quiet.until(async () => (await quiet.events('n1'))[0])).toBe(
      'Normal NodeNotReady Node n1 status is now: NodeNotReady',
    );
  } finally {
    await quiet.stop();
  }
});
