import type { Container as ContainerDef, Pod, PodStatus } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { podStatus, type StatusInput } from '../../src/kubelet/status.ts';
import type { Container } from '../../src/runtime/index.ts';

const def = (name: string, more: Partial<ContainerDef> = {}): ContainerDef => ({ name, image: 'nginx', ...more });
const pod = (spec: Partial<Pod['spec']> = {}, status?: PodStatus): Pod => ({
  metadata: { name: 'p', namespace: 'default', uid: 'u' },
  spec: { containers: [def('a')], restartPolicy: 'Always', ...spec },
  ...(status === undefined ? {} : { status }),
});
const record = (name: string, attempt: number, more: Partial<Container>): Container => ({
  id: `${name}${attempt}`,
  sandboxId: 's',
  name,
  attempt,
  state: 'running',
  createdAt: 0,
  startedAt: 1_700_000_000_000,
  sharedPid: false,
  image: 'docker.io/library/nginx:latest',
  imageId: 'sha256:1',
  stopSignal: 'SIGTERM',
  tty: false,
  stdin: false,
  stdinOnce: false,
  logPath: '',
  user: { uid: 0, gid: 0, additionalGids: [] },
  labels: {},
  ...more,
});
const exited = (name: string, attempt: number, exitCode: number): Container =>
  record(name, attempt, { state: 'exited', exitCode, finishedAt: 1_700_000_005_000 });
const NOW = 1_700_000_100_000;

const status = (p: Pod, containers: Container[], more: Partial<StatusInput> = {}): PodStatus => {
  const byName = new Map<string, Container[]>();
  for (const c of containers) byName.set(c.name, [...(byName.get(c.name) ?? []), c]);
  const running = new Set(containers.filter((c) => c.state === 'running').map((c) => c.name));
  return podStatus(
    {
      pod: p,
      nodeIPs: ['192.0.2.1'],
      sandbox: { ready: true, ips: ['10.0.0.5'] },
      containers: byName,
      waiting: new Map(),
      started: running,
      ready: running,
      messages: new Map(),
      acceptedAt: 1_700_000_000_000,
      failed: undefined,
      terminal: false,
      ...more,
    },
    NOW,
  );
};
const conditionOf = (s: PodStatus, type: string) => s.conditions?.find((c) => c.type === type);

describe('the status of a pod', () => {
  it('is Pending and says why', () => {
    const s = status(pod(), [], { sandbox: undefined });
    expect(s).toMatchObject({ phase: 'Pending', hostIP: '192.0.2.1', startTime: '2023-11-14T22:13:20Z' });
    expect(s.podIP).toBeUndefined();
    expect(s.containerStatuses?.[0]).toMatchObject({
      state: { waiting: { reason: 'ContainerCreating' } },
      ready: false,
      restartCount: 0,
    });
    expect(conditionOf(s, 'Ready')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotReady',
      message: 'containers with unready status: [a]',
    });
  });

  it('is Running and ready', () => {
    const s = status(pod(), [record('a', 0, {})]);
    expect(s).toMatchObject({ phase: 'Running', podIP: '10.0.0.5', podIPs: [{ ip: '10.0.0.5' }] });
    expect(s.conditions?.map((c) => [c.type, c.status])).toEqual([
      ['PodReadyToStartContainers', 'True'],
      ['Initialized', 'True'],
      ['Ready', 'True'],
      ['ContainersReady', 'True'],
      ['PodScheduled', 'True'],
    ]);
    expect(s.containerStatuses?.[0]).toMatchObject({
      containerID: 'runc://a0',
      started: true,
      state: { running: { startedAt: '2023-11-14T22:13:20Z' } },
    });
  });

  it('of a crash loop shows the wait and the last end', () => {
    const s = status(pod(), [exited('a', 0, 2), exited('a', 1, 3)], {
      waiting: new Map([['a', { reason: 'CrashLoopBackOff', message: 'back-off' }]]),
    });
    expect(s.phase).toBe('Running');
    expect(s.containerStatuses?.[0]).toMatchObject({
      restartCount: 1,
      state: { waiting: { reason: 'CrashLoopBackOff' } },
      lastState: { terminated: { exitCode: 3, reason: 'Error', containerID: 'runc://a1' } },
    });
    const again = status(pod(), [exited('a', 1, 3), record('a', 2, {})]);
    expect(again.containerStatuses?.[0]).toMatchObject({
      restartCount: 2,
      state: { running: {} },
      lastState: { terminated: { exitCode: 3 } },
    });
  });

  it.each([
    ['Never', [0], 'Succeeded'],
    ['Never', [1], 'Failed'],
    ['OnFailure', [0], 'Succeeded'],
    ['OnFailure', [1], 'Running'],
    ['Always', [0], 'Running'],
  ] as const)('with policy %s and exit code %j is %s', (restartPolicy, codes, phase) => {
    expect(
      status(
        pod({ restartPolicy }),
        codes.map((code) => exited('a', 0, code)),
      ).phase,
    ).toBe(phase);
  });

  it('of a finished pod keeps its address and is not ready', () => {
    const before = status(pod({ restartPolicy: 'Never' }), [record('a', 0, {})]);
    const s = status(pod({ restartPolicy: 'Never' }, before), [exited('a', 0, 0)], {
      sandbox: undefined,
      terminal: true,
    });
    expect(s).toMatchObject({ phase: 'Succeeded', podIP: '10.0.0.5' });
    expect(conditionOf(s, 'Ready')).toMatchObject({ status: 'False', reason: 'PodCompleted' });
    expect(s.containerStatuses?.[0]?.state?.terminated).toMatchObject({
      reason: 'Completed',
      exitCode: 0,
      finishedAt: '2023-11-14T22:13:25Z',
    });
  });

  it('dates a condition only when it changes, and leaves those of others alone', () => {
    const old: PodStatus = {
      conditions: [
        { type: 'Ready', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' },
        { type: 'ContainersReady', status: 'False', lastTransitionTime: '2020-01-01T00:00:00Z' },
        { type: 'example.com/gate', status: 'True', lastTransitionTime: '2020-01-01T00:00:00Z' },
      ],
    };
    const s = status(pod({}, old), [record('a', 0, {})]);
    expect(conditionOf(s, 'Ready')?.lastTransitionTime).toBe('2020-01-01T00:00:00Z');
    expect(conditionOf(s, 'ContainersReady')?.lastTransitionTime).toBe('2023-11-14T22:15:00Z');
    expect(conditionOf(s, 'example.com/gate')?.status).toBe('True');
  });

  it('waits for readiness gates', () => {
    const gated = pod({ readinessGates: [{ conditionType: 'x/y' }] });
    expect(conditionOf(status(gated, [record('a', 0, {})]), 'Ready')).toMatchObject({
      status: 'False',
      reason: 'ReadinessGatesNotReady',
      message: 'corresponding condition of pod readiness gate "x/y" does not exist.',
    });
    expect(conditionOf(status(gated, [record('a', 0, {})]), 'ContainersReady')?.status).toBe('True');
  });

  it('tells how far init containers are', () => {
    const p = pod({ initContainers: [def('i'), def('s', { restartPolicy: 'Always' })] });
    const s = status(p, [exited('i', 0, 0)]);
    expect(s.phase).toBe('Pending');
    expect(conditionOf(s, 'Initialized')).toMatchObject({
      status: 'False',
      reason: 'ContainersNotInitialized',
      message: 'containers with incomplete status: [s]',
    });
    expect(s.containerStatuses?.[0]?.state).toEqual({ waiting: { reason: 'PodInitializing' } });
    expect(s.initContainerStatuses?.[0]).toMatchObject({ ready: true, state: { terminated: { exitCode: 0 } } });
    const up = status(p, [exited('i', 0, 0), record('s', 0, {}), record('a', 0, {})]);
    expect([up.phase, conditionOf(up, 'Ready')?.status]).toEqual(['Running', 'True']);
    const failed = status({ ...p, spec: { ...p.spec, restartPolicy: 'Never' } }, [exited('i', 0, 1)], {
      terminal: true,
    });
    expect(failed.phase).toBe('Failed');
  });

  it('of a pod that the node failed', () => {
    const s = status(pod(), [exited('a', 0, 137)], {
      failed: { reason: 'DeadlineExceeded', message: 'too long' },
      terminal: true,
    });
    expect(s).toMatchObject({ phase: 'Failed', reason: 'DeadlineExceeded', message: 'too long' });
  });

  it('remembers restarts that the node has no record of', () => {
    const old: PodStatus = {
      containerStatuses: [{ name: 'a', image: '', imageID: '', ready: true, restartCount: 4, state: { running: {} } }],
    };
    expect(status(pod({}, old), []).containerStatuses?.[0]?.restartCount).toBe(4);
  });
});

describe('ephemeral containers', () => {
  const p = pod({ ephemeralContainers: [def('debug')] });

  it("have statuses of their own and no say in the pod's readiness and phase", () => {
    const s = status(p, [record('a', 0, {}), exited('debug', 0, 3)]);
    expect(s.ephemeralContainerStatuses?.[0]).toMatchObject({
      name: 'debug',
      ready: false,
      restartCount: 0,
      state: { terminated: { exitCode: 3, reason: 'Error' } },
    });
    expect(s.phase).toBe('Running');
    expect(conditionOf(s, 'Ready')?.status).toBe('True');
  });

  it('are not ready when they run, and say why they do not', () => {
    expect(status(p, [record('a', 0, {}), record('debug', 0, {})]).ephemeralContainerStatuses?.[0]).toMatchObject({
      ready: false,
      state: { running: {} },
    });
    const waiting = new Map([['debug', { reason: 'ErrImagePull', message: 'no' }]]);
    expect(status(p, [record('a', 0, {})], { waiting }).ephemeralContainerStatuses?.[0]?.state).toEqual({
      waiting: { reason: 'ErrImagePull', message: 'no' },
    });
  });
});
