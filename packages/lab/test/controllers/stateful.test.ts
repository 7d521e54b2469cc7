import { type Job, resources, type StatefulSet } from '@weft/kube';
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

function set(name: string, spec: Partial<StatefulSet['spec']> = {}): Promise<StatefulSet> {
  return cluster.create(resources.statefulsets, {
    metadata: { name },
    spec: {
      serviceName: name,
      replicas: 3,
      selector: { matchLabels: { app: name } },
      template: podTemplate(name),
      ...spec,
    },
  });
}

const status = async (name: string): Promise<StatefulSet['status']> =>
  (await cluster.get(resources.statefulsets, name)).status;
const ready = (name: string, n: number): Promise<unknown> =>
  cluster.until(async () => (await status(name))?.availableReplicas === n);
const podNames = async (): Promise<string[]> => (await cluster.list(resources.pods)).map((p) => p.metadata.name).sort();
const image = (name: string, tag: string): Promise<unknown> =>
  cluster.client.patch(
    resources.statefulsets,
    'default',
    name,
    { spec: { template: { spec: { containers: [{ name: 'c', image: tag }] } } } },
    { type: 'strategic' },
  );
const images = async (): Promise<string[]> =>
  (await cluster.list(resources.pods))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .map((p) => p.spec.containers[0]?.image ?? '');

describe('StatefulSet', () => {
  test('makes its pods one after the other, each with its name', async () => {
    const order: string[] = [];
    kubelets.pods.on({
      add: (pod) => {
        const others = kubelets.pods.list().filter((p) => p !== pod);
        const waiting = others.filter(
          (p) => !p.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True'),
        );
        order.push(`${pod.metadata.name} ${waiting.length}`);
      },
    });
    await set('db');
    await ready('db', 3);
    expect(order).toEqual(['db-0 0', 'db-1 0', 'db-2 0']);
    const pod = await cluster.get(resources.pods, 'db-1');
    expect(pod.spec).toMatchObject({ hostname: 'db-1', subdomain: 'db' });
    const now = await status('db');
    expect(pod.metadata.labels).toMatchObject({
      'statefulset.kubernetes.io/pod-name': 'db-1',
      'apps.kubernetes.io/pod-index': '1',
      'controller-revision-hash': now?.updateRevision,
    });
    expect(now).toMatchObject({ replicas: 3, readyReplicas: 3, updatedReplicas: 3, currentReplicas: 3 });
    expect(now?.currentRevision).toBe(now?.updateRevision);
    await cluster.until(async () =>
      (await cluster.events('db')).includes('Normal SuccessfulCreate create Pod db-0 in StatefulSet db successful'),
    );
  });

  test('is scaled down from the top and replaces what is lost under the same name', async () => {
    await set('db', { podManagementPolicy: 'Parallel' });
    await ready('db', 3);
    const old = await cluster.get(resources.pods, 'db-0');
    await cluster.client.delete(resources.pods, 'default', 'db-0');
    await cluster.until(async () => {
      const pod = await cluster.get(resources.pods, 'db-0').catch(() => undefined);
      return pod !== undefined && pod.metadata.uid !== old.metadata.uid;
    });
    await cluster.client.patch(resources.statefulsets, 'default', 'db', { spec: { replicas: 1 } });
    await cluster.until(async () => (await podNames()).join() === 'db-0');
  });

  test('rolls downwards to the partition, and further when that is lowered', async () => {
    await set('db', { updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 2 } } });
    await ready('db', 3);
    await image('db', 'nginx:2');
    await cluster.until(async () => (await images()).join() === 'nginx,nginx,nginx:2');
    await ready('db', 3);
    const half = await status('db');
    expect(half?.currentRevision).not.toBe(half?.updateRevision);
    expect(half).toMatchObject({ updatedReplicas: 1, currentReplicas: 2 });
    // A pod below the partition comes back as it was.
    await cluster.client.delete(resources.pods, 'default', 'db-0', { gracePeriodSeconds: 0 });
    await cluster.until(async () => (await podNames()).length === 2 || (await images())[0] === 'nginx');
    await ready('db', 3);
    expect(await images()).toEqual(['nginx', 'nginx', 'nginx:2']);
    const spec = { updateStrategy: { rollingUpdate: { partition: 0 } } };
    await cluster.client.patch(resources.statefulsets, 'default', 'db', { spec });
    await cluster.until(async () => {
      const now = await status('db');
      return now?.updatedReplicas === 3 && now.currentRevision === now.updateRevision && now.availableReplicas === 3;
    });
    expect(await images()).toEqual(['nginx:2', 'nginx:2', 'nginx:2']);
  });
});

describe('Job', () => {
  const finish = async (name: string, phase: 'Succeeded' | 'Failed'): Promise<void> => {
    const status = { phase, conditions: [] };
    await cluster.client.patch(resources.pods, 'default', name, { status }, { subresource: 'status' });
  };
  const job = (name: string, spec: Partial<Job['spec']>): Promise<Job> => {
    const template = podTemplate(name);
    return cluster.create(resources.jobs, {
      metadata: { name },
      spec: { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } }, ...spec },
    });
  };
  const running = (n: number): Promise<string[]> =>
    cluster.until(async () => {
      const pods = (await cluster.list(resources.pods)).filter((p) => p.status?.phase === 'Running');
      return pods.length === n && pods.map((p) => p.metadata.name);
    });

  test('runs its pods to the end', async () => {
    await job('sum', { completions: 3, parallelism: 2 });
    for (const name of await running(2)) await finish(name, 'Succeeded');
    for (const name of await running(1)) await finish(name, 'Succeeded');
    const done = await cluster.until(async () => {
      const found = await cluster.get(resources.jobs, 'sum');
      return found.status?.completionTime !== undefined && found;
    });
    expect(done.status).toMatchObject({ succeeded: 3 });
    expect(done.status?.conditions?.map((c) => c.type)).toEqual(['SuccessCriteriaMet', 'Complete']);
    await cluster.until(async () => (await cluster.events('sum')).includes('Normal Completed Job completed'));
  });

  test('gives up after its limit', async () => {
    await job('sum', { backoffLimit: 0 });
    for (const name of await running(1)) await finish(name, 'Failed');
    const done = await cluster.until(async () => {
      const found = await cluster.get(resources.jobs, 'sum');
      return found.status?.conditions?.some((c) => c.type === 'Failed') && found;
    });
    expect(done.status?.conditions?.at(-1)).toMatchObject({
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
    });
  });

  test('an indexed one gives each pod its number', async () => {
    await job('part', { completionMode: 'Indexed', completions: 2, parallelism: 2 });
    const names = (await running(2)).sort();
    expect(names.map((n) => n.replace(/-[a-z0-9]{5}$/, ''))).toEqual(['part-0', 'part-1']);
    for (const name of names) await finish(name, 'Succeeded');
    await cluster.until(async () => (await cluster.get(resources.jobs, 'part')).status?.completedIndexes === '0,1');
  });

  test('is removed when its time is up', async () => {
    await job('brief', { ttlSecondsAfterFinished: 0 });
    for (const name of await running(1)) await finish(name, 'Succeeded');
    await cluster.until(async () => (await cluster.list(resources.jobs)).length === 0);
    await cluster.until(async () => (await cluster.list(resources.pods)).length === 0);
  });
});

test('a CronJob that is due makes one Job', async () => {
  const time = new Date(Date.now() - 90_000).toISOString().replace(/\.\d+Z$/, 'Z');
  const template = podTemplate('tick');
  const cron = await cluster.create(resources.cronjobs, {
    metadata: { name: 'tick' },
    spec: {
      schedule: '* * * * *',
      suspend: true,
      jobTemplate: { spec: { template: { ...template, spec: { ...template.spec, restartPolicy: 'Never' } } } },
    },
  });
  await cluster.client.patch(
    resources.cronjobs,
    'default',
    'tick',
    { status: { lastScheduleTime: time } },
    { subresource: 'status' },
  );
  await cluster.client.patch(resources.cronjobs, 'default', 'tick', { spec: { suspend: false } });
  const [job] = await cluster.until(async () => {
    const jobs = await cluster.list(resources.jobs);
    return jobs.length > 0 && jobs;
  });
  expect(job?.metadata.name).toMatch(/^tick-\d+$/);
  expect(job?.metadata.ownerReferences?.[0]?.uid).toBe(cron.metadata.uid);
  const after = await cluster.until(async () => {
    const found = await cluster.get(resources.cronjobs, 'tick');
    return found.status?.lastScheduleTime !== time && found;
  });
  expect(after.status?.active?.[0]?.name).toBe(job?.metadata.name);
});
