import type { Container, Pod } from '@weft/kube';
import { containerHash, ephemeralContainers, isSidecar, type RestartPolicy, restartPolicyOf } from './pod.ts';

/** The newest container of one name. */
export interface ContainerView {
  readonly id: string;
  readonly state: 'created' | 'running' | 'exited';
  readonly exitCode?: number;
  /** Of the definition it was made from. */
  readonly hash?: string;
  /** False when it belongs to an earlier sandbox. */
  readonly current: boolean;
}

/** Why a running container must be ended. */
export type KillReason = 'liveness' | 'startup' | 'postStart' | 'changed';

/** Everything a decision depends on. */
export interface PodView {
  readonly sandbox: { readonly ready: boolean } | undefined;
  readonly containers: ReadonlyMap<string, ContainerView>;
  /** Containers whose start is under way. */
  readonly starting: ReadonlySet<string>;
  readonly creatingSandbox: boolean;
  /** Running containers that have started: their startup probe passed, their postStart hook is done. */
  readonly started: ReadonlySet<string>;
  readonly unhealthy: ReadonlyMap<string, KillReason>;
  /** Milliseconds since the epoch before which a crashed container is not started again. */
  readonly backoffUntil: ReadonlyMap<string, number>;
}

/** What is to be done next. */
export interface Decision {
  /** End the old sandbox, if any, and make a new one. */
  readonly createSandbox: boolean;
  /** Nothing runs and nothing will: give the sandbox back. */
  readonly over: boolean;
  readonly kill: readonly { readonly name: string; readonly id: string; readonly reason: KillReason }[];
  readonly start: readonly string[];
  /** Containers that wait for their back-off, with its end. */
  readonly backoff: ReadonlyMap<string, number>;
}

const NOTHING: Decision = { createSandbox: false, over: false, kill: [], start: [], backoff: new Map() };

function restarts(policy: RestartPolicy, view: ContainerView): boolean {
  return policy === 'Always' || (policy === 'OnFailure' && view.exitCode !== 0);
}

/** True when the pod is over whatever else happens: an init container failed for good. */
function initFailed(pod: Pod, view: PodView): boolean {
  if (restartPolicyOf(pod) !== 'Never') return false;
  return (pod.spec.initContainers ?? []).some((c) => {
    const v = view.containers.get(c.name);
    return !isSidecar(c) && v?.state === 'exited' && v.exitCode !== 0;
  });
}

function withoutSandbox(pod: Pod, view: PodView): Decision {
  if (view.creatingSandbox) return NOTHING;
  const policy = restartPolicyOf(pod);
  const views = pod.spec.containers.map((c) => view.containers.get(c.name));
  const ran = views.some((v) => v !== undefined);
  // A container that the loss of its sandbox ended counts as failed.
  const wanted = views.some(
    (v) => v === undefined || (v.state === 'exited' ? restarts(policy, v) : policy !== 'Never'),
  );
  const over = initFailed(pod, view) || !wanted || (ran && policy === 'Never');
  return { ...NOTHING, over, createSandbox: !over };
}

/**
 * The next step of a pod, from its definition and what there is (kubelet's computePodActions as a function of values):
 * a sandbox first, then init containers one after the other, then the containers, restarts by policy and back-off.
 */
export function decide(pod: Pod, view: PodView, now: number): Decision {
  if (view.sandbox === undefined || !view.sandbox.ready) return withoutSandbox(pod, view);
  const policy = restartPolicyOf(pod);
  const kill: { name: string; id: string; reason: KillReason }[] = [];
  const start: string[] = [];
  const backoff = new Map<string, number>();
  const current = (name: string): ContainerView | undefined => {
    const v = view.containers.get(name);
    return v?.current === true ? v : undefined;
  };
  const begin = (name: string): void => {
    const until = view.backoffUntil.get(name);
    if (until !== undefined && until > now) backoff.set(name, until);
    else start.push(name);
  };
  const check = (container: Container, v: ContainerView): void => {
    const reason = view.unhealthy.get(container.name);
    if (reason !== undefined) kill.push({ name: container.name, id: v.id, reason });
    else if (v.hash !== undefined && v.hash !== containerHash(container)) {
      kill.push({ name: container.name, id: v.id, reason: 'changed' });
    }
  };
  const result = (over: boolean): Decision => ({ createSandbox: false, over, kill, start, backoff });

  // They wait for nobody, and are not started again (kubelet's EphemeralContainersToStart).
  for (const c of ephemeralContainers(pod)) {
    if (!view.containers.has(c.name) && !view.starting.has(c.name)) begin(c.name);
  }
  const inits = pod.spec.initContainers ?? [];
  // Once a container exists, all init containers have done their part.
  const initialized = pod.spec.containers.some((c) => current(c.name) !== undefined || view.starting.has(c.name));
  for (const c of inits) {
    const v = current(c.name);
    const sidecar = isSidecar(c);
    if (initialized && !sidecar) continue;
    let done: boolean;
    if (view.starting.has(c.name)) done = false;
    else if (v === undefined || v.state === 'created') {
      begin(c.name);
      done = false;
    } else if (v.state === 'running') {
      check(c, v);
      done = sidecar && view.started.has(c.name);
    } else if (sidecar) {
      begin(c.name);
      done = false;
    } else if (v.exitCode === 0) done = true;
    else if (policy === 'Never') return result(true);
    else {
      begin(c.name);
      done = false;
    }
    if (!done && !initialized) return result(false);
  }

  let keeps = false;
  for (const c of pod.spec.containers) {
    const v = current(c.name);
    if (view.starting.has(c.name)) keeps = true;
    else if (v?.state === 'running') {
      keeps = true;
      check(c, v);
    } else {
      const last = view.containers.get(c.name);
      if (last === undefined || last.state === 'created' || restarts(policy, last)) {
        keeps = true;
        begin(c.name);
      }
    }
  }
  if (keeps) return result(false);
  // The containers are done: sidecars have nobody left to serve.
  return { ...NOTHING, over: true };
}
