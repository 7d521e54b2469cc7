import {
  type Container as ContainerDef,
  type ContainerState,
  type ContainerStateTerminated,
  type ContainerStatus,
  type Pod,
  type PodCondition,
  type PodStatus,
  timestamp,
} from '@weft/kube';
import type { Container } from '../runtime/index.ts';
import { allStatuses, ephemeralContainers, isSidecar, restartPolicyOf } from './pod.ts';

/** Why a container does not run: Kubernetes' reason and a message for people. */
export interface Waiting {
  readonly reason: string;
  readonly message?: string;
}

/** Everything the status of a pod is made from. */
export interface StatusInput {
  readonly pod: Pod;
  readonly nodeIPs: readonly string[];
  readonly sandbox: { readonly ready: boolean; readonly ips: readonly string[] } | undefined;
  /** Containers by name, the oldest first. */
  readonly containers: ReadonlyMap<string, readonly Container[]>;
  readonly waiting: ReadonlyMap<string, Waiting>;
  readonly started: ReadonlySet<string>;
  /** Running containers whose readiness probe, if any, is content. */
  readonly ready: ReadonlySet<string>;
  /** Last words by container id. */
  readonly messages: ReadonlyMap<string, string>;
  /** When the node accepted the pod; milliseconds since the epoch. */
  readonly acceptedAt: number;
  /** Set when the node ended or refused the pod by itself. */
  readonly failed: { readonly reason: string; readonly message: string } | undefined;
  /** The node will not start anything of this pod any more. */
  readonly terminal: boolean;
}

type Sort = 'init' | 'main' | 'ephemeral';

const containerId = (container: Container): string => `runc://${container.id}`;
const time = (milliseconds: number | undefined): string => timestamp(milliseconds ?? 0);

function terminated(container: Container, messages: ReadonlyMap<string, string>): ContainerStateTerminated {
  const code = container.exitCode ?? 0;
  const message = container.message ?? messages.get(container.id);
  return {
    exitCode: code,
    reason: container.reason ?? (code === 0 ? 'Completed' : 'Error'),
    ...(message === undefined ? {} : { message }),
    startedAt: time(container.startedAt),
    finishedAt: time(container.finishedAt),
    containerID: containerId(container),
  };
}

function restartsAfter(pod: Pod, def: ContainerDef, sort: Sort, exitCode: number): boolean {
  if (sort === 'ephemeral') return false;
  const init = sort === 'init';
  if (init && isSidecar(def)) return true;
  const policy = restartPolicyOf(pod);
  if (init) return exitCode !== 0 && policy !== 'Never';
  return policy === 'Always' || (policy === 'OnFailure' && exitCode !== 0);
}

function containerStatus(input: StatusInput, def: ContainerDef, sort: Sort): ContainerStatus {
  const { pod, messages } = input;
  const all = input.containers.get(def.name) ?? [];
  const newest = all.at(-1);
  const before = all.at(-2);
  const old = allStatuses(pod.status).find((s) => s.name === def.name);
  const reason = input.waiting.get(def.name);
  if (newest === undefined) {
    const initializing = (pod.spec.initContainers?.length ?? 0) > 0;
    const usual: Waiting = { reason: initializing ? 'PodInitializing' : 'ContainerCreating' };
    const lastState =
      old?.state?.terminated !== undefined ? { terminated: old.state.terminated } : (old?.lastState ?? {});
    return {
      name: def.name,
      state: { waiting: { ...(reason ?? usual) } },
      lastState,
      ready: false,
      restartCount: old?.restartCount ?? 0,
      image: def.image ?? '',
      imageID: '',
      started: false,
    };
  }
  let state: ContainerState;
  let lastState: ContainerState = before?.state === 'exited' ? { terminated: terminated(before, messages) } : {};
  if (before === undefined && old?.lastState !== undefined && newest.attempt > 0) lastState = old.lastState;
  if (newest.state === 'running') state = { running: { startedAt: time(newest.startedAt) } };
  else if (newest.state === 'created') {
    state = { waiting: { ...(reason ?? { reason: 'ContainerCreating' }) } };
  } else {
    const end = terminated(newest, messages);
    const again = !input.terminal && restartsAfter(pod, def, sort, end.exitCode);
    if (reason !== undefined && again) {
      state = { waiting: { ...reason } };
      lastState = { terminated: end };
    } else state = { terminated: end };
  }
  const running = newest.state === 'running';
  const started = running && input.started.has(def.name);
  const initDone = sort === 'init' && !isSidecar(def) && newest.state === 'exited' && newest.exitCode === 0;
  return {
    name: def.name,
    state,
    lastState,
    ready: initDone || (sort !== 'ephemeral' && started && input.ready.has(def.name)),
    restartCount: newest.attempt,
    image: newest.image,
    imageID: newest.imageId,
    containerID: containerId(newest),
    started,
  };
}

/** The phase of a pod from the states of its containers (kubelet's getPhase). */
function podPhase(
  pod: Pod,
  inits: readonly ContainerStatus[],
  mains: readonly ContainerStatus[],
): NonNullable<PodStatus['phase']> {
  const policy = restartPolicyOf(pod);
  let initializing = 0;
  for (const [i, def] of (pod.spec.initContainers ?? []).entries()) {
    const status = inits[i];
    const ended =
      status?.state?.terminated ?? (status?.state?.waiting === undefined ? undefined : status.lastState?.terminated);
    if (isSidecar(def)) {
      if (status?.started !== true) initializing += 1;
    } else if (ended !== undefined && ended.exitCode !== 0 && policy === 'Never') return 'Failed';
    else if (status?.state?.terminated?.exitCode !== 0) initializing += 1;
  }
  let waiting = 0;
  let running = 0;
  let stopped = 0;
  let succeeded = 0;
  for (const { state, lastState } of mains) {
    if (state?.running !== undefined) running += 1;
    else if (state?.terminated !== undefined) {
      stopped += 1;
      if (state.terminated.exitCode === 0) succeeded += 1;
    } else if (lastState?.terminated !== undefined) stopped += 1;
    else waiting += 1;
  }
  // A sidecar that starts again does not take a pod back that has run.
  if (initializing > 0 && running + stopped === 0) return 'Pending';
  if (waiting > 0) return 'Pending';
  if (running > 0) return 'Running';
  if (stopped === 0) return 'Pending';
  if (policy === 'Always') return 'Running';
  if (stopped === succeeded) return 'Succeeded';
  return policy === 'Never' ? 'Failed' : 'Running';
}

function condition(
  old: readonly PodCondition[],
  now: number,
  type: string,
  value: boolean,
  reason?: string,
  message?: string,
): PodCondition {
  const status = value ? 'True' : 'False';
  const before = old.find((c) => c.type === type);
  const kept = before?.status === status ? before.lastTransitionTime : undefined;
  return {
    type,
    status,
    lastProbeTime: null as unknown as string,
    lastTransitionTime: kept ?? timestamp(now),
    ...(reason === undefined ? {} : { reason }),
    ...(message === undefined ? {} : { message }),
  };
}

/** Conditions that the node writes; all others belong to somebody else. */
export const OWN_CONDITIONS: ReadonlySet<string> = new Set([
  'PodReadyToStartContainers',
  'Initialized',
  'Ready',
  'ContainersReady',
  'PodScheduled',
]);

function conditions(
  input: StatusInput,
  phase: NonNullable<PodStatus['phase']>,
  inits: readonly ContainerStatus[],
  mains: readonly ContainerStatus[],
  now: number,
): PodCondition[] {
  const { pod } = input;
  const old = pod.status?.conditions ?? [];
  const make = (type: string, value: boolean, reason?: string, message?: string): PodCondition =>
    condition(old, now, type, value, reason, message);
  const list = (statuses: readonly ContainerStatus[]): string => `[${statuses.map((s) => s.name).join(' ')}]`;

  const defs = pod.spec.initContainers ?? [];
  const incomplete = inits.filter((s, i) => {
    const def = defs[i] as ContainerDef;
    return isSidecar(def) ? s.started !== true : s.state?.terminated?.exitCode !== 0;
  });
  const ran = mains.some(
    (s) => s.state?.running !== undefined || s.state?.terminated !== undefined || s.lastState?.terminated !== undefined,
  );
  let initialized: PodCondition;
  if (phase === 'Succeeded') initialized = make('Initialized', true, 'PodCompleted');
  else if (incomplete.length === 0 || (ran && phase === 'Running')) initialized = make('Initialized', true);
  else
    initialized = make(
      'Initialized',
      false,
      'ContainersNotInitialized',
      `containers with incomplete status: ${list(incomplete)}`,
    );

  const sidecars = inits.filter((_, i) => isSidecar(defs[i] as ContainerDef));
  const unready = [...sidecars, ...mains].filter((s) => !s.ready);
  let why: [string, string?] | undefined;
  if (phase === 'Succeeded') why = ['PodCompleted'];
  else if (phase === 'Failed') why = ['PodFailed'];
  else if (unready.length > 0) why = ['ContainersNotReady', `containers with unready status: ${list(unready)}`];
  const containersReady = make('ContainersReady', why === undefined, ...(why ?? []));

  const gates: string[] = [];
  for (const gate of pod.spec.readinessGates ?? []) {
    const found = old.find((c) => c.type === gate.conditionType);
    if (found === undefined)
      gates.push(`corresponding condition of pod readiness gate "${gate.conditionType}" does not exist.`);
    else if (found.status !== 'True') {
      gates.push(`the status of pod readiness gate "${gate.conditionType}" is not "True", but ${found.status}`);
    }
  }
  if (why === undefined && gates.length > 0) why = ['ReadinessGatesNotReady', gates.join(', ')];
  const sandboxed = input.sandbox?.ready === true && !input.terminal;
  return [
    make('PodReadyToStartContainers', sandboxed),
    initialized,
    make('Ready', why === undefined, ...(why ?? [])),
    containersReady,
    make('PodScheduled', true),
    ...old.filter((c) => !OWN_CONDITIONS.has(c.type)),
  ];
}

/** The status of a pod as the node sees it. Pure; `now` dates what changes. */
export function podStatus(input: StatusInput, now: number): PodStatus {
  const { pod, nodeIPs } = input;
  const inits = (pod.spec.initContainers ?? []).map((c) => containerStatus(input, c, 'init'));
  const mains = pod.spec.containers.map((c) => containerStatus(input, c, 'main'));
  const ephemerals = ephemeralContainers(pod).map((c) => containerStatus(input, c, 'ephemeral'));
  const phase = input.failed === undefined ? podPhase(pod, inits, mains) : 'Failed';
  const ips = pod.spec.hostNetwork === true ? nodeIPs : (input.sandbox?.ips ?? []);
  // What the pod had stays to be seen when it is over.
  const known = ips.length > 0 ? ips : (pod.status?.podIPs ?? []).map((p) => p.ip);
  const base: PodStatus = {
    phase,
    conditions: conditions(input, phase, inits, mains, now),
    hostIP: nodeIPs[0] ?? '',
    hostIPs: nodeIPs.map((ip) => ({ ip })),
    startTime: pod.status?.startTime ?? timestamp(input.acceptedAt),
    ...(inits.length === 0 ? {} : { initContainerStatuses: inits }),
    containerStatuses: mains,
    ...(ephemerals.length === 0 ? {} : { ephemeralContainerStatuses: ephemerals }),
  };
  if (known[0] !== undefined) {
    base.podIP = known[0];
    base.podIPs = known.map((ip) => ({ ip }));
  }
  if (input.failed !== undefined) {
    base.reason = input.failed.reason;
    base.message = input.failed.message;
  }
  return base;
}
