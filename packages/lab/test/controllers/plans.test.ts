import type { DaemonSet, Job, Node, OwnerReference, Pod, ReplicaSet, Taint } from '@weft/kube';
import { resources } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { dueTimes, nextTime, parseSchedule } from '../../src/controllers/cronjob/schedule.ts';
import { compileDaemonSet } from '../../src/controllers/daemonset/compile.ts';
import { type Item, judge, OwnerGraph, type OwnerState } from '../../src/controllers/gc/graph.ts';
import { compileJob, formatIndexes, parseIndexes } from '../../src/controllers/job/compile.ts';
import { evictionTime, sameTaints, wantedTaints } from '../../src/controllers/node-lifecycle/compile.ts';
import { planReplicas } from '../../src/controllers/replicaset/compile.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');

function pod(
  name: string,
  fields: {
    node?: string;
    ready?: boolean;
    phase?: string;
    labels?: Record<string, string>;
    cost?: string;
    created?: string;
    deleting?: boolean;
  } = {},
): Pod {
  const { node, ready = true, phase = 'Running', labels, cost, created = '2025-12-31T00:00:00Z', deleting } = fields;
  return {
    metadata: {
      name,
      creationTimestamp: created,
      ...(labels === undefined ? {} : { labels }),
      ...(cost === undefined ? {} : { annotations: { 'controller.kubernetes.io/pod-deletion-cost': cost } }),
      ...(deleting === true ? { deletionTimestamp: '2026-01-01T00:00:00Z' } : {}),
    },
    spec: { containers: [], ...(node === undefined ? {} : { nodeName: node }) },
    status: {
      phase: phase as 'Running',
      conditions: [{ type: 'Ready', status: ready ? 'True' : 'False', lastTransitionTime: '2025-12-31T12:00:00Z' }],
    },
  };
}

describe('planReplicas', () => {
  const set = (replicas: number): ReplicaSet => ({ metadata: { name: 'rs' }, spec: { replicas, selector: {} } });
  const removed = (replicas: number, pods: Pod[]): string[] =>
    planReplicas(set(replicas), pods).remove.map((p) => p.metadata.name);

  test('makes what is missing; pods that end or ended do not count', () => {
    const pods = [pod('a'), pod('b', { deleting: true }), pod('c', { phase: 'Failed' })];
    expect(planReplicas(set(3), pods)).toEqual({ create: 2, remove: [] });
  });

  test.each([
    ['is not on a node', pod('x', { phase: 'Pending' })],
    ['is pending', pod('x', { node: 'n1', phase: 'Pending' })],
    ['is not ready', pod('x', { node: 'n1', ready: false })],
    ['is cheap', pod('x', { node: 'n1', cost: '-5' })],
    ['is younger', pod('x', { node: 'n1', created: '2025-12-31T10:00:00Z' })],
  ])('takes away the pod that %s first', (_, x) => {
    expect(removed(2, [pod('a', { node: 'n1' }), x, pod('b', { node: 'n1' })])).toEqual(['x']);
  });

  test('takes from the node with most pods', () => {
    const pods = [pod('a', { node: 'n1' }), pod('b', { node: 'n2' }), pod('c', { node: 'n2' })];
    expect(['b', 'c']).toContain(removed(2, pods)[0]);
  });
});

describe('compileDaemonSet', () => {
  const set = (spec: Partial<DaemonSet['spec']> = {}): DaemonSet => ({
    metadata: { name: 'ds' },
    spec: {
      selector: {},
      template: { spec: { containers: [] } },
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } },
      ...spec,
    },
  });
  const node = (name: string, taints: Taint[] = []): Node => ({ metadata: { name }, spec: { taints } });
  const nodes = ['n1', 'n2', 'n3', 'n4'].map((name) => node(name));
  const on = (name: string, hash: string, ready = true): Pod =>
    pod(`${name}-${hash}`, { node: name, ready, labels: { 'controller-revision-hash': hash } });
  const names = (pods: readonly Pod[]): string[] => pods.map((p) => p.metadata.name);

  test('one pod per node, none where it is not wanted', () => {
    const away = node('n5', [{ key: 'x', effect: 'NoExecute' }]);
    const shut = node('n6', [{ key: 'x', effect: 'NoSchedule' }]);
    const plan = compileDaemonSet(
      set(),
      [...nodes, away, shut],
      [on('n1', 'a'), on('n5', 'a'), on('n6', 'a')],
      'a',
      NOW,
    );
    expect(plan.create).toEqual(['n2', 'n3', 'n4']);
    expect(names(plan.remove)).toEqual(['n5-a']);
    expect(plan.status).toMatchObject({ desiredNumberScheduled: 4, currentNumberScheduled: 1, numberMisscheduled: 2 });
  });

  test('the taints of a sick node do not drive it away', () => {
    const sick = ['not-ready', 'unreachable'].map((k) => ({
      key: `node.kubernetes.io/${k}`,
      effect: 'NoExecute' as const,
    }));
    const cordoned = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' as const };
    expect(compileDaemonSet(set(), [node('n1', [...sick, cordoned])], [], 'a', NOW).create).toEqual(['n1']);
  });

  test('an update replaces as many as may be unavailable, those that do not work at once', () => {
    const pods = [on('n1', 'a'), on('n2', 'a', false), on('n3', 'a'), on('n4', 'b')];
    expect(names(compileDaemonSet(set(), nodes, pods, 'b', NOW).remove)).toEqual(['n2-a']);
    const all = [on('n1', 'a'), on('n2', 'b'), on('n3', 'a'), on('n4', 'b')];
    expect(names(compileDaemonSet(set(), nodes, all, 'b', NOW).remove)).toEqual(['n1-a']);
    const waiting = [on('n1', 'a'), on('n2', 'b', false), on('n3', 'a'), on('n4', 'b')];
    expect(names(compileDaemonSet(set(), nodes, waiting, 'b', NOW).remove)).toEqual([]);
  });

  test('a surge makes the new pod first and then takes the old one', () => {
    const surging = set({
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
    });
    const old = nodes.map((n) => on(n.metadata.name, 'a'));
    const first = compileDaemonSet(surging, nodes, old, 'b', NOW);
    expect([first.create, names(first.remove)]).toEqual([['n1'], []]);
    const starting = compileDaemonSet(surging, nodes, [...old, on('n1', 'b', false)], 'b', NOW);
    expect([starting.create, names(starting.remove)]).toEqual([[], []]);
    const done = compileDaemonSet(surging, nodes, [...old, on('n1', 'b')], 'b', NOW);
    expect(names(done.remove)).toEqual(['n1-a']);
  });

  test('OnDelete waits for somebody to delete', () => {
    const plan = compileDaemonSet(
      set({ updateStrategy: { type: 'OnDelete' } }),
      nodes.slice(0, 1),
      [on('n1', 'a')],
      'b',
      NOW,
    );
    expect([plan.create, plan.remove]).toEqual([[], []]);
  });
});

describe('judge', () => {
  const owner = (uid: string, block = true): OwnerReference => ({
    apiVersion: 'v1',
    kind: 'X',
    name: uid,
    uid,
    blockOwnerDeletion: block,
  });
  const item = (uid: string, fields: Partial<Item> = {}): Item => ({
    uid,
    type: resources.configmaps,
    namespace: 'default',
    name: uid,
    resourceVersion: '1',
    owners: [],
    finalizers: [],
    deleting: false,
    ...fields,
  });
  const graph = (...items: Item[]): OwnerGraph => {
    const g = new OwnerGraph();
    for (const i of items) g.set(i);
    return g;
  };
  const states = (s: Record<string, OwnerState>): Map<string, OwnerState> => new Map(Object.entries(s));

  test('lives while one owner lives, without the others', () => {
    const child = item('c', { owners: [owner('a'), owner('b')] });
    expect(judge(child, graph(child), states({ a: 'alive', b: 'alive' }))).toEqual({ action: 'none' });
    expect(judge(child, graph(child), states({ a: 'alive', b: 'gone' }))).toEqual({
      action: 'drop-owners',
      keep: [owner('a')],
    });
    expect(judge(child, graph(child), states({ a: 'gone', b: 'gone' }))).toEqual({
      action: 'delete',
      policy: 'Background',
    });
  });

  test('a tree goes in the foreground, from the leaves', () => {
    const child = item('c', { owners: [owner('root')] });
    const leaf = item('l', { owners: [owner('c')] });
    const root = item('root', { deleting: true, finalizers: ['foregroundDeletion'] });
    const g = graph(root, child, leaf);
    expect(judge(root, g, states({}))).toEqual({ action: 'wait', dependents: [child] });
    expect(judge(child, g, states({ root: 'waiting' }))).toEqual({ action: 'delete', policy: 'Foreground' });
    expect(judge(leaf, g, states({ c: 'waiting' }))).toEqual({ action: 'delete', policy: 'Background' });
    g.delete('c');
    expect(judge(root, g, states({}))).toEqual({ action: 'unblock' });
  });

  test('a dependent that does not block is not waited for', () => {
    const child = item('c', { owners: [owner('root', false)] });
    const root = item('root', { deleting: true, finalizers: ['foregroundDeletion'] });
    expect(judge(root, graph(root, child), states({}))).toEqual({ action: 'unblock' });
  });

  test('orphans are let go first', () => {
    const child = item('c', { owners: [owner('root')] });
    const root = item('root', { deleting: true, finalizers: ['orphan'] });
    expect(judge(root, graph(root, child), states({}))).toEqual({ action: 'orphan', dependents: [child] });
  });
});

describe('node taints', () => {
  const node = (ready: 'True' | 'False' | 'Unknown', taints: Taint[] = [], unschedulable = false): Node => ({
    metadata: { name: 'n' },
    spec: { taints, unschedulable },
    status: { conditions: [{ type: 'Ready', status: ready }] },
  });
  const text = (taints: readonly Taint[]): string[] => taints.map((t) => `${t.key}:${t.effect}`);

  test('follow the conditions and leave those of others alone', () => {
    const foreign: Taint = { key: 'gpu', effect: 'NoSchedule' };
    expect(text(wantedTaints(node('Unknown', [foreign]), NOW))).toEqual([
      'gpu:NoSchedule',
      'node.kubernetes.io/unreachable:NoSchedule',
      'node.kubernetes.io/unreachable:NoExecute',
    ]);
    expect(text(wantedTaints(node('False', [], true), NOW))).toEqual([
      'node.kubernetes.io/not-ready:NoSchedule',
      'node.kubernetes.io/not-ready:NoExecute',
      'node.kubernetes.io/unschedulable:NoSchedule',
    ]);
    const sick = wantedTaints(node('Unknown', [foreign]), NOW);
    expect(text(wantedTaints(node('True', sick), NOW))).toEqual(['gpu:NoSchedule']);
    // The time at which it was added decides when pods have to go: it must not move.
    expect(wantedTaints(node('Unknown', sick), NOW + 5000)).toEqual(sick);
    expect(sameTaints(sick, [...sick].reverse())).toBe(true);
  });

  test('drive a pod away when its patience ends', () => {
    const taints = wantedTaints(node('Unknown'), NOW);
    const patient = (...seconds: (number | undefined)[]): Pod => ({
      metadata: { name: 'p' },
      spec: {
        containers: [],
        tolerations: seconds.map((s) => ({
          key: 'node.kubernetes.io/unreachable',
          operator: 'Exists' as const,
          effect: 'NoExecute' as const,
          ...(s === undefined ? {} : { tolerationSeconds: s }),
        })),
      },
    });
    expect(evictionTime(patient(300), taints)).toBe(NOW + 300_000);
    expect(evictionTime(patient(300, 10), taints)).toBe(NOW + 10_000);
    expect(evictionTime(patient(undefined), taints)).toBeUndefined();
    expect(evictionTime(patient(), taints)).toBe(0);
    expect(evictionTime(patient(), [{ key: 'x', effect: 'NoSchedule' }])).toBeUndefined();
  });
});

describe('compileJob', () => {
  const job = (spec: Partial<Job['spec']> = {}, status: Job['status'] = {}): Job => ({
    metadata: { name: 'j' },
    spec: {
      completions: 3,
      parallelism: 2,
      backoffLimit: 2,
      template: { spec: { containers: [], restartPolicy: 'Never' } },
      ...spec,
    },
    status,
  });
  const ended = (name: string, phase: string): Pod => pod(name, { phase, ready: false });

  test('makes no more pods than are still needed', () => {
    expect(compileJob(job(), [], NOW).create).toHaveLength(2);
    const two = [ended('a', 'Succeeded'), ended('b', 'Succeeded')];
    expect(compileJob(job(), two, NOW).create).toHaveLength(1);
    expect(compileJob(job(), [...two, pod('c')], NOW).create).toHaveLength(0);
  });

  test('waits after a failure, longer each time, and gives up in the end', () => {
    const failedNow = (name: string): Pod => ({
      ...ended(name, 'Failed'),
      metadata: { name, creationTimestamp: '2026-01-01T00:00:00Z' },
    });
    expect(compileJob(job(), [failedNow('a')], NOW)).toMatchObject({ create: [], again: 10_000 });
    expect(compileJob(job(), [failedNow('a'), failedNow('b')], NOW)).toMatchObject({ create: [], again: 20_000 });
    expect(compileJob(job(), [failedNow('a')], NOW + 10_000).create).toHaveLength(2);
    const over = compileJob(job(), ['a', 'b', 'c'].map(failedNow), NOW);
    expect(over.event).toEqual({
      type: 'Warning',
      reason: 'BackoffLimitExceeded',
      message: 'Job has reached the specified backoff limit',
    });
  });

  test('has a deadline', () => {
    const late = compileJob(job({ activeDeadlineSeconds: 60 }, { startTime: '2025-12-31T23:00:00Z' }), [pod('a')], NOW);
    expect(late.status.conditions?.map((c) => c.reason)).toEqual(['DeadlineExceeded', 'DeadlineExceeded']);
    expect(late.remove).toHaveLength(1);
  });

  test('is suspended and resumed', () => {
    const stopped = compileJob(job({ suspend: true }), [pod('a')], NOW);
    expect([stopped.create, stopped.remove.length, stopped.event?.reason]).toEqual([[], 1, 'Suspended']);
    const resumed = compileJob(job({}, stopped.status), [], NOW);
    expect(resumed.status.conditions).toMatchObject([{ type: 'Suspended', status: 'False', reason: 'JobResumed' }]);
    expect(resumed.create).toHaveLength(2);
  });

  test('indexes are written as Kubernetes does', () => {
    expect(formatIndexes(new Set([5, 1, 3, 4, 7, 8]))).toBe('1,3-5,7,8');
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat(40)), (numbers) => {
        const sorted = [...numbers].sort((a, b) => a - b);
        expect(parseIndexes(formatIndexes(new Set(numbers)))).toEqual(sorted);
      }),
    );
  });
});

describe('cron schedules', () => {
  const next = (schedule: string, after: string, zone?: string): string | undefined => {
    const at = nextTime(parseSchedule(schedule), Date.parse(after), zone);
    return at === undefined ? undefined : new Date(at).toISOString().slice(0, 16);
  };
  test.each([
    ['* * * * *', '2026-01-01T00:00:30Z', '2026-01-01T00:01'],
    ['*/15 * * * *', '2026-01-01T00:15:00Z', '2026-01-01T00:30'],
    ['0 3 * * 1-5', '2026-01-02T04:00:00Z', '2026-01-05T03:00'],
    ['30 2 29 2 *', '2026-01-01T00:00:00Z', '2028-02-29T02:30'],
    ['0 0 1 jan *', '2026-01-01T00:00:00Z', '2027-01-01T00:00'],
    ['0 0 13 * fri', '2026-01-01T00:00:00Z', '2026-01-02T00:00'],
    ['@daily', '2026-01-01T12:00:00Z', '2026-01-02T00:00'],
    ['0 0 31 2 *', '2026-01-01T00:00:00Z', undefined],
    ['5,10-12 1 * * 7', '2026-01-01T00:00:00Z', '2026-01-04T01:05'],
  ])('%s after %s is %s', (schedule, after, want) => {
    expect(next(schedule, after)).toBe(want);
  });

  test('a time zone counts, over a change of the clock as well', () => {
    expect(next('0 9 * * *', '2026-01-15T00:00:00Z', 'Europe/Berlin')).toBe('2026-01-15T08:00');
    expect(next('0 9 * * *', '2026-03-28T09:00:00Z', 'Europe/Berlin')).toBe('2026-03-29T07:00');
  });

  test.each(['* * * *', '61 * * * *', '* * * * mon-xyz', '*/0 * * * *', ''])('"%s" is refused', (schedule) => {
    expect(() => parseSchedule(schedule)).toThrowError(expect.objectContaining({ code: 'SCHEDULE_INVALID' }) as Error);
  });

  test('what was missed is counted, and the last one found', () => {
    const schedule = parseSchedule('* * * * *');
    expect(dueTimes(schedule, NOW, NOW + 3 * 60_000 + 5)).toEqual({ last: NOW + 3 * 60_000, missed: 3 });
    expect(dueTimes(schedule, NOW, NOW + 200 * 60_000).last).toBe(NOW + 200 * 60_000);
    expect(dueTimes(schedule, NOW, NOW + 59_000)).toEqual({ last: undefined, missed: 0 });
  });
});
