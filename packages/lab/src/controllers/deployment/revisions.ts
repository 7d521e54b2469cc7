import { type Deployment, type ReplicaSet, wellKnown } from '@weft/kube';
import { sameTemplate } from '../common/template.ts';
import { rollingLimits } from './scaling.ts';

const { deploymentRevision, deploymentDesiredReplicas, deploymentMaxReplicas, lastAppliedConfiguration } =
  wellKnown.annotations;
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';

/** Annotations of a Deployment that its ReplicaSets do not take over. */
const OWN = new Set<string>([
  lastAppliedConfiguration,
  deploymentRevision,
  REVISION_HISTORY,
  deploymentDesiredReplicas,
  deploymentMaxReplicas,
  'deprecated.deployment.rollback.to',
]);

export function revisionOf(object: { metadata: { annotations?: Record<string, string> } }): number {
  return Number(object.metadata.annotations?.[deploymentRevision] ?? 0) || 0;
}

/** Oldest first; of the same second, by name, so that the order never changes. */
function byAge(a: ReplicaSet, b: ReplicaSet): number {
  const x = a.metadata.creationTimestamp ?? '';
  const y = b.metadata.creationTimestamp ?? '';
  return x === y ? (a.metadata.name < b.metadata.name ? -1 : 1) : x < y ? -1 : 1;
}

/** The ReplicaSet with the template of the Deployment (the oldest, should there be two), and all others. */
export function splitSets(
  deployment: Deployment,
  sets: readonly ReplicaSet[],
): { newest: ReplicaSet | undefined; old: ReplicaSet[] } {
  const sorted = [...sets].sort(byAge);
  const newest = sorted.find((set) => sameTemplate(set.spec.template, deployment.spec.template));
  return { newest, old: sorted.filter((set) => set !== newest) };
}

/** Annotations of the new ReplicaSet: the Deployment's, and its revision. A revision it had before goes to its history. */
export function setAnnotations(
  deployment: Deployment,
  set: ReplicaSet | undefined,
  revision: number,
): Record<string, string> {
  const out: Record<string, string> = { ...set?.metadata.annotations };
  for (const [key, value] of Object.entries(deployment.metadata.annotations ?? {})) {
    if (!OWN.has(key)) out[key] = value;
  }
  const had = set === undefined ? 0 : revisionOf(set);
  if (had < revision) {
    if (had > 0) {
      const history = (out[REVISION_HISTORY] ?? '').split(',').filter((r) => r !== '' && r !== String(had));
      out[REVISION_HISTORY] = [...history, String(had)].join(',');
    }
    out[deploymentRevision] = String(revision);
  }
  return set === undefined ? { ...out, ...sizeAnnotations(deployment) } : out;
}

/** The annotations by which a later scaling is noticed and shared out. */
export function sizeAnnotations(deployment: Deployment): Record<string, string> {
  const wanted = deployment.spec.replicas ?? 1;
  return {
    [deploymentDesiredReplicas]: String(wanted),
    [deploymentMaxReplicas]: String(wanted + rollingLimits(deployment).maxSurge),
  };
}

/** True when the Deployment's size changed since its active ReplicaSets were sized. */
export function wasScaled(deployment: Deployment, sets: readonly ReplicaSet[]): boolean {
  return sets.some((set) => {
    const desired = set.metadata.annotations?.[deploymentDesiredReplicas];
    return (set.spec.replicas ?? 1) > 0 && desired !== undefined && Number(desired) !== (deployment.spec.replicas ?? 1);
  });
}

/** Old ReplicaSets beyond `revisionHistoryLimit` that nothing runs in any more. */
export function surplusHistory(deployment: Deployment, old: readonly ReplicaSet[]): ReplicaSet[] {
  const limit = deployment.spec.revisionHistoryLimit ?? 10;
  const alive = old.filter((set) => set.metadata.deletionTimestamp === undefined);
  return alive
    .sort((a, b) => revisionOf(a) - revisionOf(b) || byAge(a, b))
    .slice(0, Math.max(0, alive.length - limit))
    .filter(
      (set) =>
        (set.status?.replicas ?? 0) === 0 &&
        set.spec.replicas === 0 &&
        (set.metadata.generation ?? 0) <= (set.status?.observedGeneration ?? 0),
    );
}
