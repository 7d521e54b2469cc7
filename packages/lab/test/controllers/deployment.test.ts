import { type Deployment, KubeClient, type ReplicaSet, resources } from '@weft/kube';
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
  await Promise.all(['n1', 'n2', 'n3'].map((name) => cluster.node(name)));
  await startWorkloads(cluster.common);
});
afterEach(() => cluster.stop());

function deploy(name: string, replicas: number, spec: Partial<Deployment['spec']> = {}): Promise<Deployment> {
  return cluster.create(resources.deployments, {
    metadata: { name, annotations: { team: 'shop' } },
    spec: { replicas, selector: { matchLabels: { app: name } }, template: podTemplate(name), ...spec },
  });
}

/** What `kubectl rollout status` waits for. */
function rolledOut(name: string): Promise<Deployment> {
  return cluster.until(async () => {
    const d = await cluster.get(resources.deployments, name);
    const { replicas = 1 } = d.spec;
    const s = d.status ?? {};
    return (
      (s.observedGeneration ?? 0) >= (d.metadata.generation ?? 0) &&
      (s.updatedReplicas ?? 0) >= replicas &&
      (s.replicas ?? 0) <= (s.updatedReplicas ?? 0) &&
      (s.availableReplicas ?? 0) >= (s.updatedReplicas ?? 0) &&
      d
    );
  });
}

const setsOf = (name: string): Promise<ReplicaSet[]> => cluster.list(resources.replicasets, `app=${name}`);
const image = (name: string, tag: string): Promise<Deployment> =>
  cluster.client.patch(
    resources.deployments,
    'default',
    name,
    { spec: { template: { spec: { containers: [{ name: 'c', image: tag }] } } } },
    { type: 'strategic' },
  );

describe('Deployment', () => {
  test('makes a ReplicaSet, whose pods are spread over the nodes', async () => {
    await deploy('web', 6);
    const done = await rolledOut('web');
    const [set] = await setsOf('web');
    expect(done.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('1');
    expect(done.status?.conditions?.map((c) => `${c.type}=${c.status} ${c.reason}`).sort()).toEqual([
      'Available=True MinimumReplicasAvailable',
      'Progressing=True NewReplicaSetAvailable',
    ]);
    expect(set?.metadata.annotations).toMatchObject({ team: 'shop', 'deployment.kubernetes.io/revision': '1' });
    expect(set?.metadata.name).toMatch(/^web-[bcdfghjklmnpqrstvwxz2456789]+$/);
    const pods = await cluster.list(resources.pods);
    expect(pods.every((p) => /^web-[a-z0-9]+-[a-z0-9]{5}$/.test(p.metadata.name))).toBe(true);
    const nodes = pods.map((p) => p.spec.nodeName ?? '').sort();
    expect(nodes).toEqual(['n1', 'n1', 'n2', 'n2', 'n3', 'n3']);
    const events = await cluster.until(async () => {
      const found = [...(await cluster.events('web')), ...(await cluster.events(set?.metadata.name ?? ''))];
      return found.length >= 7 && found;
    });
    expect(events).toContain(`Normal ScalingReplicaSet Scaled up replica set ${set?.metadata.name} from 0 to 6`);
    expect(events.filter((e) => e.startsWith('Normal SuccessfulCreate Created pod: web-'))).toHaveLength(6);
  });

  test('rolls to a new template within its limits, and back by the old revision', async () => {
    await deploy('web', 4, { strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } });
    await rolledOut('web');
    let most = 0;
    let fewestReady = 4;
    const count = (): void => {
      const active = kubelets.pods.list().filter((p) => p.metadata.deletionTimestamp === undefined);
      most = Math.max(most, active.length);
      const ready = active.filter((p) => p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'));
      fewestReady = Math.min(fewestReady, ready.length);
    };
    kubelets.pods.on({ add: count, update: count, delete: count });
    await image('web', 'nginx:2');
    await rolledOut('web');
    expect(most).toBeLessThanOrEqual(5);
    expect(fewestReady).toBeGreaterThanOrEqual(3);
    const sets = await cluster.until(async () => {
      const all = await setsOf('web');
      return all.filter((s) => s.spec.replicas === 0 && (s.status?.replicas ?? 0) === 0).length === 1 && all;
    });
    const first = sets.find((s) => s.spec.replicas === 0);
    expect(first?.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('1');
    // kubectl rollout undo puts the old template back.
    const labels = { ...first?.spec.template?.metadata?.labels };
    delete labels['pod-template-hash'];
    const template = { ...first?.spec.template, metadata: { labels } };
    await cluster.client.patch(
      resources.deployments,
      'default',
      'web',
      [{ op: 'replace', path: '/spec/template', value: template }],
      { type: 'json' },
    );
    const back = await rolledOut('web');
    expect(back.metadata.annotations?.['deployment.kubernetes.io/revision']).toBe('3');
    const again = (await setsOf('web')).find((s) => s.metadata.uid === first?.metadata.uid);
    expect(again?.spec.replicas).toBe(4);
    expect(again?.metadata.annotations?.['deployment.kubernetes.io/revision-history']).toBe('1');
  });

  test('stops when the new pods do not become ready', async () => {
    await deploy('web', 4);
    await rolledOut('web');
    kubelets.broken = /./;
    await image('web', 'broken');
    await cluster.until(async () => (await cluster.get(resources.deployments, 'web')).status?.updatedReplicas === 2);
    const now = await cluster.get(resources.deployments, 'web');
    expect(now.status?.availableReplicas).toBeGreaterThanOrEqual(3);
  });

  test('Recreate starts the new pods when the old ones are gone', async () => {
    await deploy('web', 3, { strategy: { type: 'Recreate' } });
    await rolledOut('web');
    const mixed: string[] = [];
    kubelets.pods.on({
      add: () => {
        const hashes = new Set(kubelets.pods.list().map((p) => p.metadata.labels?.['pod-template-hash']));
        if (hashes.size > 1) mixed.push([...hashes].join());
      },
    });
    await image('web', 'nginx:2');
    await rolledOut('web');
    expect(mixed).toEqual([]);
  });

  test('is scaled, paused and resumed', async () => {
    await deploy('web', 2);
    await rolledOut('web');
    const patch = (spec: object): Promise<Deployment> =>
      cluster.client.patch(resources.deployments, 'default', 'web', { spec });
    await patch({ replicas: 5 });
    await rolledOut('web');
    expect(await setsOf('web')).toHaveLength(1);
    await patch({ paused: true });
    await image('web', 'nginx:2');
    await cluster.until(async () => {
      const d = await cluster.get(resources.deployments, 'web');
      return d.status?.observedGeneration === d.metadata.generation && d.status?.updatedReplicas === undefined;
    });
    expect(await setsOf('web')).toHaveLength(1);
    await patch({ paused: null });
    await rolledOut('web');
    await patch({ replicas: 0 });
    await cluster.until(async () => (await cluster.list(resources.pods)).length === 0);
  });
});

test('controllers that die half-way are followed by others that finish the work, and no more', async () => {
  const quiet = await TestCluster.start();
  try {
    const nodes = new Kubelets(quiet);
    await quiet.node('n1');
    const live = async (): Promise<() => void> => {
      const stop = new AbortController();
      const client = new KubeClient({ transport: { kind: 'unix', path: `${quiet.directory}/api.sock` } });
      await startWorkloads({ ...quiet.common, client, signal: stop.signal });
      return () => {
        stop.abort();
        client.close();
      };
    };
    await quiet.create(resources.deployments, {
      metadata: { name: 'web' },
      spec: { replicas: 60, selector: { matchLabels: { app: 'web' } }, template: podTemplate('web') },
    });
    let most = 0;
    nodes.pods.on({ add: () => void (most = Math.max(most, nodes.pods.size)) });
    for (const enough of [1, 8, 20, 45]) {
      const die = await live();
      await quiet.until(async () => nodes.pods.size >= enough);
      die();
    }
    const die = await live();
    await quiet.until(async () => (await quiet.get(resources.deployments, 'web')).status?.availableReplicas === 60);
    die();
    expect(most).toBe(60);
    expect(await quiet.list(resources.replicasets)).toHaveLength(1);
  } finally {
    await quiet.stop();
  }
});

describe('DaemonSet', () => {
  test('runs on every node that fits, new ones included, and rolls', async () => {
    await cluster.node('gpu', { spec: { taints: [{ key: 'gpu', value: 'yes', effect: 'NoSchedule' }] } });
    await cluster.create(resources.daemonsets, {
      metadata: { name: 'agent' },
      spec: { selector: { matchLabels: { app: 'agent' } }, template: podTemplate('agent') },
    });
    const done = (n: number): Promise<unknown> =>
      cluster.until(async () => {
        const { status, metadata } = await cluster.get(resources.daemonsets, 'agent');
        return (
          status?.observedGeneration === metadata.generation &&
          status?.updatedNumberScheduled === n &&
          status?.numberAvailable === n
        );
      });
    await done(3);
    await cluster.node('n4');
    await done(4);
    const before = await cluster.list(resources.pods);
    expect(before.map((p) => p.spec.nodeName ?? '').sort()).toEqual(['n1', 'n2', 'n3', 'n4']);
    await cluster.client.patch(
      resources.daemonsets,
      'default',
      'agent',
      { spec: { template: { spec: { containers: [{ name: 'c', image: 'nginx:2' }] } } } },
      { type: 'strategic' },
    );
    await done(4);
    const after = await cluster.list(resources.pods);
    const old = new Set(before.map((p) => p.metadata.uid));
    expect(after.filter((p) => old.has(p.metadata.uid))).toEqual([]);
    const revisions = await cluster.list(resources.controllerrevisions);
    expect(revisions.map((r) => r.revision).sort((a, b) => a - b)).toEqual([1, 2]);
  });
});

describe('scheduler', () => {
  test('says why no node fits, and tries again when one comes', async () => {
    await cluster.create(resources.pods, {
      metadata: { name: 'picky' },
      spec: { ...podTemplate('picky').spec, nodeSelector: { disk: 'ssd' } },
    });
    const message =
      "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.";
    await cluster.until(async () => (await cluster.events('picky')).includes(`Warning FailedScheduling ${message}`));
    const pod = await cluster.until(async () => {
      const found = await cluster.get(resources.pods, 'picky');
      return found.status?.conditions?.some((c) => c.type === 'PodScheduled') && found;
    });
    expect(pod.status?.conditions).toMatchObject([
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message },
    ]);
    await cluster.node('n4', { labels: { disk: 'ssd' } });
    const bound = await cluster.until(async () => {
      const found = await cluster.get(resources.pods, 'picky');
      return found.spec.nodeName !== undefined && found;
    });
    expect(bound.spec.nodeName).toBe('n4');
    expect(bound.status?.conditions?.find((c) => c.type === 'PodScheduled')).toMatchObject({ status: 'True' });
  });
});
