import { type OwnWrites } from '@weft/controllers';
import {
  controllerOf,
  controllerRef,
  type Informer,
  isControlledBy,
  isDeleting,
  isStatus,
  type KubeClient,
  type KubeObject,
  type LabelSelector,
  matchLabelSelector,
  type ResourceType,
} from '@weft/kube';
import type { OwnerKind } from './pod-control.ts';

export interface ClaimOptions<T extends KubeObject> {
  readonly client: KubeClient;
  readonly type: ResourceType<T>;
  /** Indexed by `owner` and `orphans`: see InformerSet.owned. */
  readonly informer: Informer<T>;
  readonly writes: OwnWrites;
  readonly kind: OwnerKind;
}

/**
 * The objects that belong to `owner`: those it controls and selects. Objects without a controller that it selects are
 * adopted; those it controls but no longer selects are released (ControllerRefManager).
 */
export async function claim<T extends KubeObject>(
  options: ClaimOptions<T>,
  key: string,
  owner: KubeObject,
  selector: LabelSelector,
): Promise<T[]> {
  const { client, type, informer, writes, kind } = options;
  const { namespace, uid = '' } = owner.metadata;
  const owned: T[] = [];
  for (const object of informer.byIndex('owner', uid)) {
    if (matchLabelSelector(selector, object.metadata.labels)) owned.push(object);
    else if (!isDeleting(owner)) {
      await ignoreLostRace(async () => writes.wrote(key, informer, await release(client, type, object, uid)));
    }
  }
  if (isDeleting(owner)) return owned;
  for (const object of informer.byIndex('orphans', namespace ?? '')) {
    if (isDeleting(object) || !matchLabelSelector(selector, object.metadata.labels)) continue;
    await ignoreLostRace(async () => {
      const ownerReferences = [...(object.metadata.ownerReferences ?? []), controllerRef(owner, kind)];
      const patch = { metadata: { ...precondition(object), ownerReferences } };
      const adopted = await client.patch(type, namespace, object.metadata.name, patch);
      writes.wrote(key, informer, adopted);
      owned.push(adopted);
    });
  }
  return owned;
}

async function release<T extends KubeObject>(
  client: KubeClient,
  type: ResourceType<T>,
  object: T,
  uid: string,
): Promise<T> {
  const left = (object.metadata.ownerReferences ?? []).filter((ref) => ref.uid !== uid);
  const patch = { metadata: { ...precondition(object), ownerReferences: left.length === 0 ? null : left } };
  return client.patch(type, object.metadata.namespace, object.metadata.name, patch);
}

/** Makes the server refuse a patch of an object that somebody changed, or made anew, since it was read. */
function precondition({ metadata }: KubeObject): { uid?: string; resourceVersion?: string } {
  const { uid, resourceVersion } = metadata;
  return {
    ...(uid === undefined ? {} : { uid }),
    ...(resourceVersion === undefined ? {} : { resourceVersion }),
  };
}

async function ignoreLostRace(job: () => Promise<void>): Promise<void> {
  try {
    await job();
  } catch (error) {
    if (!isStatus(error, 'NotFound') && !isStatus(error, 'Conflict')) throw error;
  }
}

/**
 * Calls `touch` with the key of every owner of kind `kind` that a change of `informer`'s objects concerns: the
 * controlling owner, and for objects without one every owner in the namespace that selects them.
 */
export function followOwned<T extends KubeObject, O extends KubeObject>(
  informer: Informer<T>,
  owners: Informer<O>,
  kind: OwnerKind,
  selectorOf: (owner: O) => LabelSelector | undefined,
  touch: (key: string) => void,
): void {
  const wake = (object: T): void => {
    const ref = controllerOf(object);
    const { namespace } = object.metadata;
    if (ref !== undefined) {
      if (ref.kind !== kind.kind || ref.apiVersion !== kind.apiVersion) return;
      const owner = owners.get(`${namespace}/${ref.name}`);
      if (owner !== undefined && isControlledBy(object, owner)) touch(`${namespace}/${ref.name}`);
      return;
    }
    for (const owner of owners.byIndex('namespace', namespace ?? '')) {
      if (matchLabelSelector(selectorOf(owner), object.metadata.labels)) touch(`${namespace}/${owner.metadata.name}`);
    }
  };
  informer.on({
    add: wake,
    delete: wake,
    update: (before, after) => {
      wake(after);
      if (controllerOf(before)?.uid !== controllerOf(after)?.uid) wake(before);
    },
  });
}
