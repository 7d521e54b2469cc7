import { isPodAvailable, isPodReady } from '@weft/controllers';
import { type Pod, type StatefulSet, type StatefulSetStatus, wellKnown } from '@weft/kube';

/** A pod that has to be made. */
export interface StatefulCreate {
  readonly ordinal: number;
  readonly name: string;
  /** Name of the ControllerRevision whose template it gets. */
  readonly revision: string;
}

/** What has to happen to the pods of a StatefulSet now. */
export interface StatefulPlan {
  readonly create: readonly StatefulCreate[];
  readonly remove: readonly Pod[];
  /** Pods that ended, to be deleted and made anew. */
  readonly failed: readonly Pod[];
  readonly status: StatefulSetStatus;
}

/** Names of the revisions that the set comes from and goes to; equal when no update is going on. */
export interface Revisions {
  readonly current: string;
  readonly update: string;
}

/** The ordinal of a pod of that set, or undefined when its name is none of the set's. */
function ordinalOf(set: StatefulSet, pod: Pod): number | undefined {
  const { name } = pod.metadata;
  const prefix = `${set.metadata.name}-`;
  if (!name.startsWith(prefix)) return undefined;
  const rest = name.slice(prefix.length);
  return /^(0|[1-9][0-9]*)$/.test(rest) ? Number(rest) : undefined;
}

const isTerminating = (pod: Pod): boolean => pod.metadata.deletionTimestamp !== undefined;
const hasEnded = (pod: Pod): boolean => pod.status?.phase === 'Failed' || pod.status?.phase === 'Succeeded';
const isRunningAndReady = (pod: Pod): boolean => pod.status?.phase === 'Running' && isPodReady(pod);
const revisionOf = (pod: Pod): string | undefined => pod.metadata.labels?.[wellKnown.labels.controllerRevisionHash];

/**
 * The next step of a StatefulSet. Ordered ones take one step at a time, upwards when pods are made and downwards when
 * they are removed or updated, and wait for each pod to be ready; parallel ones wait only for updates.
 */
export function compileStatefulSet(
  set: StatefulSet,
  pods: readonly Pod[],
  revisions: Revisions,
  now: number,
): StatefulPlan {
  const status = countStateful(set, pods, revisions, now);
  const steps = set.metadata.deletionTimestamp === undefined ? nextSteps(set, pods, revisions, now) : NOTHING;
  return { ...steps, status };
}

type Steps = Omit<StatefulPlan, 'status'>;
const NOTHING: Steps = { create: [], remove: [], failed: [] };

function nextSteps(set: StatefulSet, pods: readonly Pod[], revisions: Revisions, now: number): Steps {
  const start = set.spec.ordinals?.start ?? 0;
  const replicas = set.spec.replicas ?? 1;
  const ordered = set.spec.podManagementPolicy !== 'Parallel';
  const minReady = set.spec.minReadySeconds ?? 0;
  const byOrdinal = new Map<number, Pod>();
  for (const pod of pods) {
    const ordinal = ordinalOf(set, pod);
    if (ordinal !== undefined) byOrdinal.set(ordinal, pod);
  }
  const isHealthy = (pod: Pod): boolean => isRunningAndReady(pod) && isPodAvailable(pod, minReady, now);
  const create: StatefulCreate[] = [];
  const failed: Pod[] = [];
  for (let ordinal = start; ordinal < start + replicas; ordinal++) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) {
      create.push({ ordinal, name: `${set.metadata.name}-${ordinal}`, revision: revisionFor(set, ordinal, revisions) });
      if (ordered) return { create, remove: [], failed };
    } else if (hasEnded(pod)) {
      if (!isTerminating(pod)) failed.push(pod);
      if (ordered) return { create, remove: [], failed };
    } else if (ordered && (isTerminating(pod) || !isHealthy(pod))) {
      return { create, remove: [], failed };
    }
  }
  const condemned = [...byOrdinal]
    .filter(([ordinal]) => ordinal < start || ordinal >= start + replicas)
    .sort(([a], [b]) => b - a)
    .map(([, pod]) => pod);
  const remove: Pod[] = [];
  for (const pod of condemned) {
    if (!isTerminating(pod)) remove.push(pod);
    if (ordered) return { create, remove, failed };
  }
  if (set.spec.updateStrategy?.type === 'OnDelete') return { create, remove, failed };
  // Pods that are just being made are as good as unhealthy: an update waits for them.
  if (create.length > 0 || failed.length > 0) return { create, remove, failed };
  const partition = set.spec.updateStrategy?.rollingUpdate?.partition ?? 0;
  for (let ordinal = start + replicas - 1; ordinal >= start + partition; ordinal--) {
    const pod = byOrdinal.get(ordinal);
    if (pod === undefined) break;
    if (revisionOf(pod) !== revisions.update && !isTerminating(pod)) {
      remove.push(pod);
      break;
    }
    if (isTerminating(pod) || !isHealthy(pod)) break;
  }
  return { create, remove, failed };
}

/** Below the partition pods keep the revision that the set comes from. */
function revisionFor(set: StatefulSet, ordinal: number, revisions: Revisions): string {
  const { updateStrategy, ordinals } = set.spec;
  const partition = updateStrategy?.rollingUpdate?.partition ?? 0;
  const keeps = updateStrategy?.type !== 'OnDelete' && ordinal < (ordinals?.start ?? 0) + partition;
  return keeps ? revisions.current : revisions.update;
}

function countStateful(set: StatefulSet, pods: readonly Pod[], revisions: Revisions, now: number): StatefulSetStatus {
  const minReady = set.spec.minReadySeconds ?? 0;
  const living = pods.filter((pod) => ordinalOf(set, pod) !== undefined && pod.status?.phase !== undefined);
  const ready = living.filter(isRunningAndReady);
  const settled = living.filter((pod) => !isTerminating(pod));
  const ofRevision = (revision: string): number => settled.filter((pod) => revisionOf(pod) === revision).length;
  const status: StatefulSetStatus = {
    observedGeneration: set.metadata.generation ?? 0,
    replicas: living.length,
    readyReplicas: ready.length,
    availableReplicas: ready.filter((pod) => isPodAvailable(pod, minReady, now)).length,
    currentReplicas: ofRevision(revisions.current),
    updatedReplicas: ofRevision(revisions.update),
    currentRevision: revisions.current,
    updateRevision: revisions.update,
    collisionCount: set.status?.collisionCount ?? 0,
  };
  const done =
    set.spec.updateStrategy?.type !== 'OnDelete' &&
    status.updatedReplicas === status.replicas &&
    status.readyReplicas === status.replicas &&
    status.replicas === (set.spec.replicas ?? 1);
  if (done) {
    status.currentReplicas = status.updatedReplicas ?? 0;
    status.currentRevision = revisions.update;
  }
  return status;
}

/** Labels that name a pod within its set. */
export function statefulLabels(name: string, ordinal: number, revision: string): Record<string, string> {
  return {
    [wellKnown.labels.statefulSetPodName]: name,
    [wellKnown.labels.podIndex]: String(ordinal),
    [wellKnown.labels.controllerRevisionHash]: revision,
  };
}

/** What a StatefulSet changes in its template for one pod: its name in DNS, and its own claims. */
export function statefulPodSpec(set: StatefulSet, spec: Pod['spec'] | undefined, name: string): Partial<Pod['spec']> {
  const claims = (set.spec.volumeClaimTemplates ?? []).map((claim) => ({
    name: claim.metadata.name,
    persistentVolumeClaim: { claimName: `${claim.metadata.name}-${name}` },
  }));
  const names = new Set(claims.map((claim) => claim.name));
  const volumes = [...(spec?.volumes ?? []).filter((volume) => !names.has(volume.name)), ...claims];
  return {
    hostname: name,
    ...(set.spec.serviceName ? { subdomain: set.spec.serviceName } : {}),
    ...(volumes.length === 0 ? {} : { volumes }),
  };
}
