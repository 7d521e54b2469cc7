import type { Container, Pod } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ContainerView, type Decision, decide, type PodView } from '../../src/kubelet/decide.ts';
import { containerHash } from '../../src/kubelet/pod.ts';

const container = (name: string, more: Partial<Container> = {}): Container => ({ name, image: 'busybox', ...more });
const pod = (spec: Partial<Pod['spec']> = {}): Pod => ({
  metadata: { name: 'p', namespace: 'default', uid: 'u' },
  spec: { containers: [container('a'), container('b')], restartPolicy: 'Always', ...spec },
});
const view = (more: Partial<PodView> = {}): PodView => ({
  sandbox: { ready: true },
  containers: new Map(),
  starting: new Set(),
  creatingSandbox: false,
  started: new Set(),
  unhealthy: new Map(),
  backoffUntil: new Map(),
  ...more,
});
const running = (name: string, more: Partial<ContainerView> = {}): [string, ContainerView] => [
  name,
  { id: `id-${name}`, state: 'running', current: true, ...more },
];
const exited = (name: string, exitCode: number, more: Partial<ContainerView> = {}): [string, ContainerView] => [
  name,
  { id: `id-${name}`, state: 'exited', exitCode, current: true, ...more },
];
const containers = (...list: [string, ContainerView][]): Partial<PodView> => ({ containers: new Map(list) });
const act = (p: Pod, v: Partial<PodView>, now = 0): Decision => decide(p, view(v), now);

describe('a pod without a sandbox', () => {
  it('gets one, once', () => {
    expect(act(pod(), { sandbox: undefined })).toMatchObject({ createSandbox: true, start: [], over: false });
    expect(act(pod(), { sandbox: undefined, creatingSandbox: true }).createSandbox).toBe(false);
  });

  it('gets another when the first was lost, and starts again what its policy allows', () => {
    const lost = { sandbox: { ready: false }, ...containers(running('a'), running('b')) };
    expect(act(pod(), lost).createSandbox).toBe(true);
    expect(act(pod({ restartPolicy: 'Never' }), lost)).toMatchObject({ createSandbox: false, over: true });
    expect(
      act(pod({ restartPolicy: 'OnFailure' }), { ...lost, ...containers(exited('a', 0), exited('b', 0)) }).over,
    ).toBe(true);
    expect(
      act(pod({ restartPolicy: 'OnFailure' }), { ...lost, ...containers(exited('a', 0), exited('b', 1)) })
        .createSandbox,
    ).toBe(true);
  });

  it('begins anew with its init containers', () => {
    const p = pod({ initContainers: [container('i')] });
    const old = containers(
      exited('i', 0, { current: false }),
      exited('a', 137, { current: false }),
      exited('b', 137, { current: false }),
    );
    expect(act(p, old).start).toEqual(['i']);
  });
});

describe('containers', () => {
  it('start together', () => {
    expect(act(pod(), {}).start).toEqual(['a', 'b']);
    expect(act(pod(), { starting: new Set(['a']) }).start).toEqual(['b']);
  });

  it.each([
    ['Always', 0, true],
    ['Always', 1, true],
    ['OnFailure', 0, false],
    ['OnFailure', 1, true],
    ['Never', 1, false],
  ] as const)('with policy %s and exit code %i restart: %s', (restartPolicy, code, restarts) => {
    const decision = act(pod({ restartPolicy, containers: [container('a')] }), containers(exited('a', code)));
    expect(decision.start).toEqual(restarts ? ['a'] : []);
    expect(decision.over).toBe(!restarts);
  });

  it('wait for their back-off', () => {
    const v = { ...containers(exited('a', 1), running('b')), backoffUntil: new Map([['a', 100]]) };
    expect(act(pod(), v, 99)).toMatchObject({ start: [], backoff: new Map([['a', 100]]) });
    expect(act(pod(), v, 100).start).toEqual(['a']);
  });

  it('are ended when a probe failed or their definition changed, and only then', () => {
    const same = containerHash(container('a'));
    expect(act(pod(), containers(running('a', { hash: same }), running('b'))).kill).toEqual([]);
    expect(act(pod(), containers(running('a', { hash: 'other' }), running('b'))).kill).toEqual([
      { name: 'a', id: 'id-a', reason: 'changed' },
    ]);
    const v = { ...containers(running('a'), running('b')), unhealthy: new Map([['b', 'liveness' as const]]) };
    expect(act(pod(), v).kill).toEqual([{ name: 'b', id: 'id-b', reason: 'liveness' }]);
  });

  it('leave the pod alive while one of them runs', () => {
    const v = containers(exited('a', 0), running('b'));
    expect(act(pod({ restartPolicy: 'Never' }), v).over).toBe(false);
  });
});

describe('init containers', () => {
  const p = pod({ initContainers: [container('i1'), container('i2')] });

  it('run one after the other before the rest', () => {
    expect(act(p, {}).start).toEqual(['i1']);
    expect(act(p, containers(running('i1'))).start).toEqual([]);
    expect(act(p, containers(exited('i1', 0))).start).toEqual(['i2']);
    expect(act(p, containers(exited('i1', 0), exited('i2', 0))).start).toEqual(['a', 'b']);
  });

  it('are not run again once a container has started', () => {
    expect(act(p, containers(exited('a', 1), running('b'))).start).toEqual(['a']);
  });

  it('are repeated when they fail, or end the pod', () => {
    expect(act(p, containers(exited('i1', 1))).start).toEqual(['i1']);
    const never = { ...p, spec: { ...p.spec, restartPolicy: 'Never' as const } };
    expect(act(never, containers(exited('i1', 1)))).toMatchObject({ start: [], over: true });
  });

  it('as sidecars hold up the next until they have started, and are kept running', () => {
    const side = pod({ initContainers: [container('s', { restartPolicy: 'Always' }), container('i')] });
    expect(act(side, {}).start).toEqual(['s']);
    expect(act(side, containers(running('s'))).start).toEqual([]);
    const up = { ...containers(running('s')), started: new Set(['s']) };
    expect(act(side, up).start).toEqual(['i']);
    const later = containers(exited('s', 0), exited('i', 0), running('a'), running('b'));
    expect(act(side, later).start).toEqual(['s']);
    const done = containers(running('s'), exited('i', 0), exited('a', 0), exited('b', 0));
    const job = { ...side, spec: { ...side.spec, restartPolicy: 'OnFailure' as const } };
    expect(act(job, done)).toMatchObject({ over: true, start: [] });
  });
});

it('whatever there is, nothing that runs or starts is started again, and an ended pod does nothing else', () => {
  const names = ['i', 's', 'a', 'b'];
  const anyView = fc.record({
    sandbox: fc.option(fc.record({ ready: fc.boolean() }), { nil: undefined }),
    creatingSandbox: fc.boolean(),
    states: fc.array(
      fc.tuple(
        fc.constantFrom(...names),
        fc.record({
          id: fc.constant('x'),
          state: fc.constantFrom('running' as const, 'exited' as const),
          exitCode: fc.integer({ min: 0, max: 2 }),
          current: fc.boolean(),
        }),
      ),
    ),
    starting: fc.subarray(names),
    started: fc.subarray(names),
    policy: fc.constantFrom('Always' as const, 'OnFailure' as const, 'Never' as const),
  });
  fc.assert(
    fc.property(anyView, ({ states, starting, started, policy, ...rest }) => {
      const p = pod({
        restartPolicy: policy,
        initContainers: [container('s', { restartPolicy: 'Always' }), container('i')],
      });
      const all = new Map(states);
      const decision = decide(
        p,
        view({ ...rest, containers: all, starting: new Set(starting), started: new Set(started) }),
        0,
      );
      for (const name of decision.start) {
        expect(starting).not.toContain(name);
        const v = all.get(name);
        expect(v?.state === 'running' && v.current).toBe(false);
      }
      expect(new Set(decision.start).size).toBe(decision.start.length);
      if (decision.over)
        expect([decision.start.length, decision.kill.length, decision.createSandbox]).toEqual([0, 0, false]);
      if (decision.createSandbox) expect(rest.sandbox?.ready ?? false).toBe(false);
      // A pod that restarts always is never over.
      if (policy === 'Always') expect(decision.over).toBe(false);
    }),
  );
});

describe('ephemeral containers', () => {
  const p = pod({ ephemeralContainers: [container('debug')], initContainers: [container('i')] });

  it('start in any pod that has a sandbox, while init containers run and afterwards', () => {
    expect(act(p, {}).start).toEqual(['debug', 'i']);
    expect(act(p, containers(running('i'))).start).toEqual(['debug']);
    expect(act(p, containers(exited('i', 0), running('a'), running('b'))).start).toEqual(['debug']);
    expect(act(p, { sandbox: undefined }).start).toEqual([]);
  });

  it('are started once only, whatever becomes of them', () => {
    const main = [exited('i', 0), running('a'), running('b')];
    for (const state of [running('debug'), exited('debug', 1), exited('debug', 0, { current: false })])
      expect(act(p, containers(...main, state)).start).toEqual([]);
    expect(act(p, { ...containers(...main), starting: new Set(['debug']) }).start).toEqual([]);
  });

  it('keep no pod alive', () => {
    const never = pod({ restartPolicy: 'Never', ephemeralContainers: [container('debug')] });
    expect(act(never, containers(exited('a', 0), exited('b', 0), running('debug'))).over).toBe(true);
  });
});
