import {
  type Deployment,
  type DeploymentCondition,
  type DeploymentStatus,
  type ReplicaSet,
  timestamp,
} from '@weft/kube';
import { rollingLimits } from './scaling.ts';

const NO_DEADLINE = 0x7fffffff;

export function hasDeadline(deployment: Deployment): boolean {
  const deadline = deployment.spec.progressDeadlineSeconds;
  return deadline !== undefined && deadline !== NO_DEADLINE;
}

/** A condition as it would be set now. */
export function deploymentCondition(
  type: 'Available' | 'Progressing' | 'ReplicaFailure',
  status: DeploymentCondition['status'],
  reason: string,
  message: string,
  now: number,
): DeploymentCondition {
  return { type, status, reason, message, lastUpdateTime: timestamp(now), lastTransitionTime: timestamp(now) };
}

/** Sets a condition; one with equal status and reason stays as it is, unless `refresh`. */
export function setCondition(
  list: readonly DeploymentCondition[],
  wanted: DeploymentCondition,
  refresh = false,
): DeploymentCondition[] {
  const old = list.find((c) => c.type === wanted.type);
  if (old !== undefined && old.status === wanted.status && old.reason === wanted.reason && !refresh) return [...list];
  const next =
    old?.status === wanted.status && old.lastTransitionTime !== undefined
      ? { ...wanted, lastTransitionTime: old.lastTransitionTime }
      : wanted;
  return [...list.filter((c) => c.type !== wanted.type), next];
}

/** Counters and the Available condition, from what the ReplicaSets say. */
export function countStatus(
  deployment: Deployment,
  newest: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
  conditions: readonly DeploymentCondition[],
  now: number,
): DeploymentStatus {
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas'): number =>
    all.reduce((n, set) => n + (set.status?.[field] ?? 0), 0);
  const available = sum('availableReplicas');
  const enough = available >= (deployment.spec.replicas ?? 1) - rollingLimits(deployment).maxUnavailable;
  return {
    observedGeneration: deployment.metadata.generation ?? 0,
    replicas: sum('replicas'),
    updatedReplicas: newest?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas: available,
    unavailableReplicas: Math.max(0, sum('replicas') - available),
    ...(deployment.status?.collisionCount ? { collisionCount: deployment.status.collisionCount } : {}),
    conditions: setCondition(
      conditions,
      enough
        ? deploymentCondition(
            'Available',
            'True',
            'MinimumReplicasAvailable',
            'Deployment has minimum availability.',
            now,
          )
        : deploymentCondition(
            'Available',
            'False',
            'MinimumReplicasUnavailable',
            'Deployment does not have minimum availability.',
            now,
          ),
    ),
  };
}

/** True when all pods are of the new template and available. */
export function isComplete(deployment: Deployment, status: DeploymentStatus): boolean {
  const wanted = deployment.spec.replicas ?? 1;
  return status.updatedReplicas === wanted && status.replicas === wanted && status.availableReplicas === wanted;
}

/** countStatus with the Progressing and ReplicaFailure conditions, as of a rollout that is going on. */
export function rolloutStatus(
  deployment: Deployment,
  newest: ReplicaSet | undefined,
  newName: string | undefined,
  all: readonly ReplicaSet[],
  conditions: readonly DeploymentCondition[],
  now: number,
): DeploymentStatus {
  const status = countStatus(deployment, newest, all, conditions, now);
  let next = status.conditions ?? [];
  const failure = [...all.filter((s) => s !== newest), newest]
    .reverse()
    .flatMap((set) => set?.status?.conditions ?? [])
    .find((c) => c.type === 'ReplicaFailure');
  next =
    failure === undefined
      ? next.filter((c) => c.type !== 'ReplicaFailure')
      : setCondition(
          next,
          deploymentCondition('ReplicaFailure', failure.status, failure.reason ?? '', failure.message ?? '', now),
        );
  const current = deployment.status?.conditions?.find((c) => c.type === 'Progressing');
  const settled = status.replicas === status.updatedReplicas && current?.reason === 'NewReplicaSetAvailable';
  if (hasDeadline(deployment) && !settled) {
    const what = newName === undefined ? `Deployment "${deployment.metadata.name}"` : `ReplicaSet "${newName}"`;
    if (isComplete(deployment, status)) {
      const message = `${what} has successfully progressed.`;
      next = setCondition(next, deploymentCondition('Progressing', 'True', 'NewReplicaSetAvailable', message, now));
    } else if (hasProgressed(deployment.status, status)) {
      const message = `${what} is progressing.`;
      next = setCondition(next, deploymentCondition('Progressing', 'True', 'ReplicaSetUpdated', message, now), true);
    } else if (hasTimedOut(deployment, next, now)) {
      const message = `${what} has timed out progressing.`;
      next = setCondition(next, deploymentCondition('Progressing', 'False', 'ProgressDeadlineExceeded', message, now));
    }
  }
  return { ...status, conditions: next };
}

function hasProgressed(before: DeploymentStatus | undefined, after: DeploymentStatus): boolean {
  const old = (s: DeploymentStatus | undefined): number => (s?.replicas ?? 0) - (s?.updatedReplicas ?? 0);
  const grew = (field: 'updatedReplicas' | 'readyReplicas' | 'availableReplicas'): boolean =>
    (after[field] ?? 0) > (before?.[field] ?? 0);
  return grew('updatedReplicas') || old(after) < old(before) || grew('readyReplicas') || grew('availableReplicas');
}

function hasTimedOut(deployment: Deployment, conditions: readonly DeploymentCondition[], now: number): boolean {
  const current = conditions.find((c) => c.type === 'Progressing');
  if (current === undefined || current.reason === 'NewReplicaSetAvailable') return false;
  if (current.reason === 'ProgressDeadlineExceeded') return true;
  return now > deadlineAt(deployment, current);
}

function deadlineAt(deployment: Deployment, current: DeploymentCondition): number {
  return Date.parse(current.lastUpdateTime ?? '') + (deployment.spec.progressDeadlineSeconds ?? 600) * 1000;
}

/** Milliseconds until a rollout that does not get on has to be called stuck; undefined when none is going on. */
export function deadlineIn(deployment: Deployment, status: DeploymentStatus, now: number): number | undefined {
  const current = status.conditions?.find((c) => c.type === 'Progressing');
  if (!hasDeadline(deployment) || current === undefined || isComplete(deployment, status)) return undefined;
  if (current.reason === 'NewReplicaSetAvailable' || current.reason === 'ProgressDeadlineExceeded') return undefined;
  return Math.max(0, deadlineAt(deployment, current) - now) + 1000;
}

/** The Progressing condition while a Deployment is paused, and when it goes on. */
export function pausedConditions(deployment: Deployment, now: number): DeploymentCondition[] {
  const conditions = deployment.status?.conditions ?? [];
  if (!hasDeadline(deployment)) return conditions;
  const reason = conditions.find((c) => c.type === 'Progressing')?.reason;
  if (reason === 'ProgressDeadlineExceeded') return conditions;
  const paused = deployment.spec.paused === true;
  if (paused === (reason === 'DeploymentPaused')) return conditions;
  const wanted = paused
    ? deploymentCondition('Progressing', 'Unknown', 'DeploymentPaused', 'Deployment is paused', now)
    : deploymentCondition('Progressing', 'Unknown', 'DeploymentResumed', 'Deployment is resumed', now);
  return setCondition(conditions, wanted);
}
