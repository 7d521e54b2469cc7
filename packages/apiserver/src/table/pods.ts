import type { Container, ContainerStatus, Pod, PodSpec } from '@weft/kube';
import { humanDuration } from './age.ts';
import { age, name, orNone, part, printer, wide } from './printer.ts';

interface Summary {
  ready: number;
  total: number;
  reason: string;
  restarts: number;
  /** Milliseconds since the epoch of the last end of a container that was restarted; 0 when unknown. */
  lastRestart: number;
}

const isSidecar = (container: Container | undefined): boolean => container?.restartPolicy === 'Always';

const lastEnd = (status: ContainerStatus): number => {
  const at = Date.parse(status.lastState?.terminated?.finishedAt ?? '');
  return Number.isNaN(at) ? 0 : at;
};

const hasCondition = (pod: Pod, type: string): boolean =>
  pod.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;

function terminatedReason(status: ContainerStatus): string {
  const { reason, signal, exitCode } = status.state?.terminated ?? { exitCode: 0 };
  return reason || (signal ? `Signal:${signal}` : `ExitCode:${exitCode}`);
}

/** Reason shown for an init container that holds the pod up; undefined when it is done (or a started sidecar). */
function initReason(status: ContainerStatus, index: number, spec: PodSpec): string | undefined {
  const { terminated, waiting } = status.state ?? {};
  if (terminated?.exitCode === 0) return undefined;
  if (isSidecar(spec.initContainers?.find((c) => c.name === status.name)) && status.started === true) return undefined;
  if (terminated) return `Init:${terminatedReason(status)}`;
  if (waiting?.reason && waiting.reason !== 'PodInitializing') return `Init:${waiting.reason}`;
  return `Init:${index}/${spec.initContainers?.length ?? 0}`;
}

/** What `kubectl get pods` says of a pod, by the rules of Kubernetes' pod printer. */
function podSummary(pod: Pod): Summary {
  const { spec, status = {} } = pod;
  const sidecars = (spec.initContainers ?? []).filter(isSidecar).length;
  const out: Summary = {
    ready: 0,
    total: (spec.containers?.length ?? 0) + sidecars,
    reason: status.reason || (status.phase ?? ''),
    restarts: 0,
    lastRestart: 0,
  };
  if (status.conditions?.some((c) => c.type === 'PodScheduled' && c.reason === 'SchedulingGated')) {
    out.reason = 'SchedulingGated';
  }

  let initializing = false;
  let sidecarRestarts = 0;
  let sidecarLastRestart = 0;
  for (const [i, container] of (status.initContainerStatuses ?? []).entries()) {
    out.restarts += container.restartCount;
    out.lastRestart = Math.max(out.lastRestart, lastEnd(container));
    if (isSidecar(spec.initContainers?.find((c) => c.name === container.name))) {
      sidecarRestarts += container.restartCount;
      sidecarLastRestart = Math.max(sidecarLastRestart, lastEnd(container));
      if (container.started === true && container.ready && container.state?.terminated?.exitCode !== 0) out.ready += 1;
    }
    const reason = initReason(container, i, spec);
    if (reason !== undefined) {
      out.reason = reason;
      initializing = true;
      break;
    }
  }

  if (!initializing || hasCondition(pod, 'Initialized')) {
    out.restarts = sidecarRestarts;
    out.lastRestart = sidecarLastRestart;
    let running = false;
    for (const container of [...(status.containerStatuses ?? [])].reverse()) {
      out.restarts += container.restartCount;
      out.lastRestart = Math.max(out.lastRestart, lastEnd(container));
      const state = container.state ?? {};
      if (state.waiting?.reason) out.reason = state.waiting.reason;
      else if (state.terminated) out.reason = terminatedReason(container);
      else if (container.ready && state.running) {
        running = true;
        out.ready += 1;
      }
    }
    // A pod of which one container is done and another still runs is running.
    if (out.reason === 'Completed' && running) out.reason = hasCondition(pod, 'Ready') ? 'Running' : 'NotReady';
  }

  if (pod.metadata.deletionTimestamp) {
    if (status.reason === 'NodeLost') out.reason = 'Unknown';
    else if (status.phase !== 'Failed' && status.phase !== 'Succeeded') out.reason = 'Terminating';
  }
  return out;
}

function restartsText(pod: Pod, now: Date): string {
  const { restarts, lastRestart } = podSummary(pod);
  if (restarts === 0 || lastRestart === 0) return String(restarts);
  return `${restarts} (${humanDuration(now.getTime() - lastRestart)} ago)`;
}

function gatesText(pod: Pod): string {
  const gates = pod.spec.readinessGates ?? [];
  if (gates.length === 0) return '<none>';
  return `${gates.filter((g) => hasCondition(pod, g.conditionType)).length}/${gates.length}`;
}

export const pods = printer<Pod>(
  name,
  part(
    'Ready',
    (p) => {
      const { ready, total } = podSummary(p);
      return `${ready}/${total}`;
    },
    {},
    'Containers that are ready, of all containers',
  ),
  part('Status', (p) => podSummary(p).reason, {}, 'Phase of the pod, or what holds it up'),
  part('Restarts', restartsText, {}, 'Restarts of its containers, and when the last one was'),
  age,
  part('IP', (p) => orNone(p.status?.podIPs?.[0]?.ip ?? p.status?.podIP), wide, 'Address of the pod'),
  part('Node', (p) => orNone(p.spec.nodeName), wide, 'Node the pod is bound to'),
  part('Nominated Node', (p) => orNone(p.status?.nominatedNodeName), wide, 'Node kept for the pod by preemption'),
  part('Readiness Gates', gatesText, wide, 'Readiness gates that are true, of all gates'),
);
