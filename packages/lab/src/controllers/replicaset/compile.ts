import { isPodActive, isPodAvailable, isPodReady, podCondition } from '@weft/controllers';
import { matchLabels, type Pod, type ReplicaSet, type ReplicaSetStatus, wellKnown } from '@weft/kube';
import { condition, withCondition, withoutCondition } from '../common/conditions.ts';

/** At most this many pods are created or deleted in one go. */
const BURST_REPLICAS = 500;

/** What has to happen to the pods of a ReplicaSet. */
export interface ReplicaPlan {
  readonly create: number;
  readonly remove: readonly Pod[];
}

/** `pods` are all that the set controls. */
export function planReplicas(set: ReplicaSet, pods: readonly Pod[]): ReplicaPlan {
  const active = pods.filter(isPodActive);
  const diff = active.length - (set.spec.replicas ?? 1);
  if (diff <= 0) return { create: Math.min(-diff, BURST_REPLICAS), remove: [] };
  return { create: 0, remove: [...active].sort(leastWanted(active)).slice(0, Math.min(diff, BURST_REPLICAS)) };
}

/**
 * Orders pods so that those that are missed least come first (ActivePodsWithRanks): not on a node, not running, not
 * ready, cheap to delete, many on one node, ready for a short time, restarted often, young.
 */
function leastWanted(related: readonly Pod[]): (a: Pod, b: Pod) => number {
  const perNode = new Map<string, number>();
  for (const pod of related) {
    const node = pod.spec.nodeName ?? '';
    perNode.set(node, (perNode.get(node) ?? 0) + 1);
  }
  const rank = (pod: Pod): number[] => [
    pod.spec.nodeName ? 1 : 0,
    pod.status?.phase === 'Running' ? 2 : pod.status?.phase === 'Unknown' ? 1 : 0,
    isPodReady(pod) ? 1 : 0,
    Number(pod.metadata.annotations?.[wellKnown.annotations.podDeletionCost] ?? 0) || 0,
    -(perNode.get(pod.spec.nodeName ?? '') ?? 0),
    -time(podCondition(pod, 'Ready')?.lastTransitionTime),
    -Math.max(0, ...(pod.status?.containerStatuses ?? []).map((c) => c.restartCount)),
    -time(pod.metadata.creationTimestamp),
  ];
  const ranks = new Map(related.map((pod) => [pod, rank(pod)]));
  return (a, b) => {
    const x = ranks.get(a) ?? rank(a);
    const y = ranks.get(b) ?? rank(b);
    for (let i = 0; i < x.length; i++) {
      const difference = (x[i] as number) - (y[i] as number);
      if (difference !== 0) return difference;
    }
    return a.metadata.name < b.metadata.name ? -1 : 1;
  };
}

function time(text: string | undefined): number {
  return text === undefined ? 0 : Date.parse(text) || 0;
}

/** The status of a set with these pods; `failure` is what went wrong when its pods were created or deleted. */
export function replicaStatus(
  set: ReplicaSet,
  pods: readonly Pod[],
  now: number,
  failure: { reason: 'FailedCreate' | 'FailedDelete'; message: string } | undefined,
): ReplicaSetStatus {
  const active = pods.filter(isPodActive);
  const labels = set.spec.template?.metadata?.labels ?? {};
  const ready = active.filter(isPodReady);
  const status: ReplicaSetStatus = {
    replicas: active.length,
    fullyLabeledReplicas: active.filter((pod) => matchLabels(labels, pod.metadata.labels)).length,
    readyReplicas: ready.length,
    availableReplicas: ready.filter((pod) => isPodAvailable(pod, set.spec.minReadySeconds ?? 0, now)).length,
    observedGeneration: set.metadata.generation ?? 0,
  };
  const conditions =
    failure === undefined
      ? withoutCondition(set.status?.conditions, 'ReplicaFailure')
      : withCondition(
          set.status?.conditions,
          condition('ReplicaFailure', 'True', failure.reason, failure.message, now),
        );
  if (conditions.length > 0) status.conditions = conditions;
  return status;
}

/** Milliseconds until the next ready pod becomes available; undefined when none is waiting. */
export function nextAvailable(pods: readonly Pod[], minReadySeconds: number, now: number): number | undefined {
  if (minReadySeconds === 0) return undefined;
  let soonest: number | undefined;
  for (const pod of pods) {
    const ready = podCondition(pod, 'Ready');
    if (ready?.status !== 'True' || ready.lastTransitionTime === undefined) continue;
    const wait = Date.parse(ready.lastTransitionTime) + minReadySeconds * 1000 - now;
    if (wait > 0 && (soonest === undefined || wait < soonest)) soonest = wait;
  }
  return soonest;
}
