import { type Deployment, type ReplicaSet, wellKnown } from '@weft/kube';
import { scaledValue } from '../common/int-or-percent.ts';

/** How far a rolling update may go above and below the wanted number of pods. */
export interface RollingLimits {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
}

/** Percentages resolved: surge rounds up, unavailable down; both 0 would never get on, so one pod may be missing. */
export function rollingLimits(deployment: Deployment): RollingLimits {
  const { strategy, replicas = 1 } = deployment.spec;
  if (strategy?.type === 'Recreate') return { maxSurge: 0, maxUnavailable: 0 };
  const maxSurge = scaledValue(strategy?.rollingUpdate?.maxSurge ?? '25%', replicas, 'up');
  const unavailable = scaledValue(strategy?.rollingUpdate?.maxUnavailable ?? '25%', replicas, 'down');
  const maxUnavailable = maxSurge === 0 && unavailable === 0 ? 1 : unavailable;
  return { maxSurge, maxUnavailable: Math.min(maxUnavailable, replicas) };
}

/** A ReplicaSet's size as far as the arithmetic goes. */
export interface Sized {
  readonly set: ReplicaSet;
  replicas: number;
  readonly available: number;
}

export function sized(set: ReplicaSet): Sized {
  return { set, replicas: set.spec.replicas ?? 1, available: set.status?.availableReplicas ?? 0 };
}

const total = (sets: readonly Sized[]): number => sets.reduce((n, s) => n + s.replicas, 0);

/** The size of the new ReplicaSet: as large as the surge allows (NewRSNewReplicas). */
export function newReplicas(deployment: Deployment, all: readonly Sized[], current: number): number {
  const wanted = deployment.spec.replicas ?? 1;
  if (deployment.spec.strategy?.type === 'Recreate' || current >= wanted) return wanted;
  const room = wanted + rollingLimits(deployment).maxSurge - total(all);
  return room <= 0 ? current : current + Math.min(room, wanted - current);
}

/**
 * Shrinks old ReplicaSets in place as far as availability allows: first pods that are not available anyway, then
 * available ones. Oldest first.
 */
export function shrinkOld(deployment: Deployment, newest: Sized, old: readonly Sized[]): void {
  const minAvailable = (deployment.spec.replicas ?? 1) - rollingLimits(deployment).maxUnavailable;
  const all = [newest, ...old];
  const maxCleanup = total(all) - minAvailable - (newest.replicas - newest.available);
  if (total(old) === 0 || maxCleanup <= 0) return;
  let left = maxCleanup;
  for (const set of old) {
    const unhealthy = Math.min(left, Math.max(0, set.replicas - set.available));
    set.replicas -= unhealthy;
    left -= unhealthy;
  }
  let spare = all.reduce((n, s) => n + s.available, 0) - minAvailable;
  for (const set of old) {
    if (spare <= 0) break;
    const down = Math.min(set.replicas, spare);
    set.replicas -= down;
    spare -= down;
  }
}

/**
 * Resizes ReplicaSets in place when the Deployment was scaled in the middle of a rollout (or while paused): the only
 * active one takes all; otherwise each changes in proportion to its size, the remainder going to the largest.
 */
export function scaleProportionally(deployment: Deployment, newest: Sized | undefined, old: readonly Sized[]): void {
  const wanted = deployment.spec.replicas ?? 1;
  const all = [...(newest === undefined ? [] : [newest]), ...old];
  const active = all.filter((s) => s.replicas > 0);
  if (active.length <= 1) {
    const only = active[0] ?? newest ?? old.at(-1);
    if (only !== undefined) only.replicas = wanted;
    return;
  }
  if (newest !== undefined && isSaturated(deployment, newest)) {
    for (const set of old) set.replicas = 0;
    return;
  }
  if (deployment.spec.strategy?.type === 'Recreate') return;
  const max = wanted > 0 ? wanted + rollingLimits(deployment).maxSurge : 0;
  const toAdd = max - total(active);
  active.sort((a, b) => b.replicas - a.replicas || (toAdd > 0 ? age(b) - age(a) : age(a) - age(b)));
  let added = 0;
  for (const set of active) {
    const share = fraction(deployment, set, max);
    const allowed = toAdd - added;
    const change = allowed === 0 ? 0 : toAdd > 0 ? Math.min(share, allowed) : Math.max(share, allowed);
    set.replicas = Math.max(0, set.replicas + change);
    added += change;
  }
  const largest = active[0];
  if (largest !== undefined) largest.replicas = Math.max(0, largest.replicas + toAdd - added);
}

function isSaturated(deployment: Deployment, newest: Sized): boolean {
  const wanted = deployment.spec.replicas ?? 1;
  const desired = Number(newest.set.metadata.annotations?.[wellKnown.annotations.deploymentDesiredReplicas]);
  return newest.replicas === wanted && desired === wanted && newest.available === wanted;
}

/** What the set gains or loses to keep its share of a Deployment whose largest size becomes `max`. */
function fraction(deployment: Deployment, { set, replicas }: Sized, max: number): number {
  if ((deployment.spec.replicas ?? 1) === 0) return -replicas;
  const before =
    Number(set.metadata.annotations?.[wellKnown.annotations.deploymentMaxReplicas]) ||
    (deployment.status?.replicas ?? 0) ||
    max;
  return Math.round((replicas * max) / before) - replicas;
}

function age({ set }: Sized): number {
  return Date.parse(set.metadata.creationTimestamp ?? '') || 0;
}
