import {
  type Deployment,
  type DeploymentCondition,
  type DeploymentStatus,
  type Draft,
  isDeleting,
  type Pod,
  type ReplicaSet,
  wellKnown,
} from '@weft/kube';
import { isPodTerminal } from '@weft/controllers';
import { sameValue } from '@weft/plan';
import { templateHash } from '../common/template.ts';
import { revisionOf, setAnnotations, sizeAnnotations, splitSets, surplusHistory, wasScaled } from './revisions.ts';
import { newReplicas, scaleProportionally, shrinkOld, type Sized, sized } from './scaling.ts';
import {
  countStatus,
  deadlineIn,
  deploymentCondition,
  hasDeadline,
  isComplete,
  pausedConditions,
  rolloutStatus,
  setCondition,
} from './status.ts';

/** A change of one ReplicaSet. */
export interface SetChange {
  readonly set: ReplicaSet;
  readonly replicas?: number;
  readonly minReadySeconds?: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** One step of a rollout: the writes that are due now. What they cause leads to the next step. */
export interface DeploymentPlan {
  readonly create: Draft<ReplicaSet> | undefined;
  readonly change: readonly SetChange[];
  readonly remove: readonly ReplicaSet[];
  /** The revision that the Deployment has to show. */
  readonly revision: number | undefined;
  readonly status: DeploymentStatus;
  /** Milliseconds until the plan may be another without any change. */
  readonly again: number | undefined;
}

interface View {
  readonly deployment: Deployment;
  readonly sets: readonly ReplicaSet[];
  /** All pods of a ReplicaSet, ending ones included. */
  readonly podsOf: (set: ReplicaSet) => readonly Pod[];
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** What the Deployment controller of Kubernetes would do with this view. */
export function compileDeployment(view: View): DeploymentPlan {
  const { deployment, sets, now } = view;
  const step = new Step(view);
  if (isDeleting(deployment)) return step.plan(countStatus(deployment, step.newSet, sets, step.conditions, now));
  step.conditions = pausedConditions(deployment, now);
  if (deployment.spec.paused === true || wasScaled(deployment, sets)) {
    step.syncNewest();
    scaleProportionally(deployment, step.newest, step.old);
    step.markSizes();
    if (deployment.spec.paused === true) step.cleanUp();
    return step.plan(countStatus(deployment, step.newSet, sets, step.conditions, now));
  }
  if (deployment.spec.strategy?.type === 'Recreate') step.recreate();
  else step.roll();
  const name = step.newSet?.metadata.name ?? step.create?.metadata.name;
  const status = rolloutStatus(deployment, step.newSet, name, sets, step.conditions, now);
  if (isComplete(deployment, status)) step.cleanUp();
  return step.plan(status);
}

/** Collects the writes of one step. */
class Step {
  readonly #view: View;
  readonly newSet: ReplicaSet | undefined;
  readonly newest: Sized | undefined;
  readonly old: readonly Sized[];
  conditions: DeploymentCondition[];
  create: Draft<ReplicaSet> | undefined;
  #annotations: Record<string, string> | undefined;
  #allSizes = false;
  #remove: ReplicaSet[] = [];
  #revision: number | undefined;

  constructor(view: View) {
    this.#view = view;
    const { newest, old } = splitSets(view.deployment, view.sets);
    this.newSet = newest;
    this.newest = newest === undefined ? undefined : sized(newest);
    this.old = old.map(sized);
    this.conditions = view.deployment.status?.conditions ?? [];
  }

  /** The revision that the new ReplicaSet has or gets. */
  #nextRevision(): number {
    return Math.max(0, ...this.old.map((s) => revisionOf(s.set))) + 1;
  }

  /** Brings an existing new ReplicaSet's annotations up to date. */
  syncNewest(): void {
    if (this.newSet === undefined) return;
    const revision = Math.max(this.#nextRevision(), revisionOf(this.newSet));
    this.#annotations = setAnnotations(this.#view.deployment, this.newSet, revision);
    this.#setRevision(Number(this.#annotations[wellKnown.annotations.deploymentRevision]));
    const progressing = this.conditions.some((c) => c.type === 'Progressing');
    if (hasDeadline(this.#view.deployment) && !progressing) {
      this.#progress('FoundNewReplicaSet', `Found new replica set "${this.newSet.metadata.name}"`);
    }
  }

  roll(): void {
    const { deployment } = this.#view;
    if (this.newest === undefined) {
      this.#createNewest();
      return;
    }
    this.syncNewest();
    const wanted = newReplicas(deployment, [this.newest, ...this.old], this.newest.replicas);
    // Up first: what that does has to be seen before anything is taken down.
    if (wanted === this.newest.replicas) shrinkOld(deployment, this.newest, this.old);
    else this.newest.replicas = wanted;
  }

  recreate(): void {
    const { deployment, podsOf } = this.#view;
    this.syncNewest();
    if (this.old.some((s) => s.replicas > 0)) {
      for (const set of this.old) set.replicas = 0;
      return;
    }
    if (this.old.some((s) => podsOf(s.set).some((pod) => !isPodTerminal(pod)))) return;
    if (this.newest === undefined) this.#createNewest();
    else this.newest.replicas = deployment.spec.replicas ?? 1;
  }

  /** Writes the Deployment's size to all active ReplicaSets: it has been shared out. */
  markSizes(): void {
    this.#allSizes = true;
  }

  cleanUp(): void {
    this.#remove = surplusHistory(
      this.#view.deployment,
      this.old.map((s) => s.set),
    );
  }

  plan(status: DeploymentStatus): DeploymentPlan {
    const { deployment, now } = this.#view;
    const change = [...(this.newest === undefined ? [] : [this.newest]), ...this.old]
      .map((s) => this.#changeOf(s))
      .filter((c) => c !== undefined);
    const again = deployment.spec.paused === true ? undefined : deadlineIn(deployment, status, now);
    return { create: this.create, change, remove: this.#remove, revision: this.#revision, status, again };
  }

  #changeOf(size: Sized): SetChange | undefined {
    const { deployment } = this.#view;
    const { set, replicas } = size;
    const resized = replicas !== (set.spec.replicas ?? 1);
    const annotations = {
      ...(size === this.newest && this.#annotations !== undefined ? this.#annotations : set.metadata.annotations),
      ...(resized || (this.#allSizes && replicas > 0) ? sizeAnnotations(deployment) : {}),
    };
    const minReadySeconds = deployment.spec.minReadySeconds ?? 0;
    const settle = size === this.newest && minReadySeconds !== (set.spec.minReadySeconds ?? 0);
    const annotated = !sameValue(annotations, { ...set.metadata.annotations });
    if (!resized && !annotated && !settle) return undefined;
    return {
      set,
      ...(resized ? { replicas } : {}),
      ...(annotated ? { annotations } : {}),
      ...(settle ? { minReadySeconds } : {}),
    };
  }

  #createNewest(): void {
    const { deployment } = this.#view;
    const { template, selector } = deployment.spec;
    const { namespace, name } = deployment.metadata;
    const hash = templateHash(template, deployment.status?.collisionCount ?? 0);
    const hashLabel = { [wellKnown.labels.podTemplateHash]: hash };
    const revision = this.#nextRevision();
    const labels = { ...template.metadata?.labels, ...hashLabel };
    const replicas = newReplicas(deployment, this.old, 0);
    this.create = {
      apiVersion: 'apps/v1',
      kind: 'ReplicaSet',
      metadata: {
        name: `${name}-${hash}`,
        ...(namespace === undefined ? {} : { namespace }),
        labels,
        annotations: setAnnotations(deployment, undefined, revision),
      },
      spec: {
        replicas,
        ...(deployment.spec.minReadySeconds ? { minReadySeconds: deployment.spec.minReadySeconds } : {}),
        selector: { ...selector, matchLabels: { ...selector.matchLabels, ...hashLabel } },
        template: { ...template, metadata: { ...template.metadata, labels } },
      },
    };
    this.#setRevision(revision);
    if (hasDeadline(deployment)) {
      this.#progress('NewReplicaSetCreated', `Created new replica set "${name}-${hash}"`);
    }
  }

  #setRevision(revision: number): void {
    if (revisionOf(this.#view.deployment) !== revision) this.#revision = revision;
  }

  #progress(reason: string, message: string): void {
    const wanted = deploymentCondition('Progressing', 'True', reason, message, this.#view.now);
    this.conditions = setCondition(this.conditions, wanted, true);
  }
}
