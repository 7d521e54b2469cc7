import { type CustomResourceDefinition, isStatus } from '@weft/kube';
import { builtin } from '../controllers/objects.ts';
import { commit, type Env, internalCall } from '../registry/context.ts';
import { deleteObject } from '../registry/delete.ts';
import { formatTime } from '../registry/metadata.ts';
import type { Resource } from '../registry/resource.ts';
import { updateObject } from '../registry/update.ts';
import type { AnyObject } from '../store/stored.ts';
import { customResources } from './resources.ts';

const COLLECTION = 'apiextensions.k8s.io/customresourcedefinitions';
const CLEANUP = 'customresourcecleanup.apiextensions.k8s.io';

/**
 * Serves what CustomResourceDefinitions define. The table of resources follows in the tick of the write; conditions,
 * the clean-up finalizer and the deletion of instances come right after, through `later` (which retries when it throws,
 * and calls again when the function says that it has to wait).
 */
export function serveCustomResources(env: Env, later: (key: string, run: () => boolean) => void): () => void {
  const served = new Map<string, Resource[]>();
  const hide = (name: string): void => {
    for (const resource of served.get(name) ?? []) env.table.remove(resource);
    served.delete(name);
  };
  const show = (object: AnyObject): void => {
    hide(object.metadata.name);
    const made = customResources(object as unknown as CustomResourceDefinition);
    for (const resource of made) env.table.add(resource);
    served.set(object.metadata.name, made);
  };
  const tend = (name: string): void => later(`crd/${name}`, () => tendDefinition(env, name));

  const collection = env.store.collection(COLLECTION);
  for (const { object } of collection.list()) {
    show(object);
    tend(object.metadata.name);
  }
  return collection.subscribe(({ type, current, previous }) => {
    const { name } = current.object.metadata;
    if (type === 'DELETED') {
      const resources = served.get(name) ?? [];
      hide(name);
      later(`crd-rest/${name}`, () => dropInstances(env, resources));
    } else {
      const same =
        previous !== undefined && JSON.stringify(previous.object.spec) === JSON.stringify(current.object.spec);
      if (!same) show(current.object);
      tend(name);
    }
  });
}

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

/** True when it has to be called again. */
function tendDefinition(env: Env, name: string): boolean {
  const object = env.store.collection(COLLECTION).get(name)?.object;
  if (object === undefined) return false;
  const resource = builtin(env, 'apiextensions.k8s.io', 'v1', 'customresourcedefinitions');
  const call = internalCall();
  const finalizers = object.metadata.finalizers ?? [];
  if (object.metadata.deletionTimestamp !== undefined) {
    if (!finalizers.includes(CLEANUP)) return false;
    const stored = env.table.all().filter((r) => r.custom?.crd === name && r.isStored);
    if (deleteInstances(env, stored) > 0) return true;
    setFinalizers(
      env,
      resource,
      name,
      finalizers.filter((f) => f !== CLEANUP),
    );
    return false;
  }
  if (!finalizers.includes(CLEANUP)) setFinalizers(env, resource, name, [...finalizers, CLEANUP]);
  const { spec } = object as unknown as CustomResourceDefinition;
  const wanted: readonly (readonly [type: string, reason: string, message: string])[] = [
    ['NamesAccepted', 'NoConflicts', 'no conflicts found'],
    ['Established', 'InitialNamesAccepted', 'the initial names have been accepted'],
  ];
  updateObject(
    env,
    resource,
    {
      namespace: undefined,
      name,
      part: 'status',
      change: (current) => {
        const status = (current.status ?? {}) as { conditions?: Condition[]; storedVersions?: string[] };
        const conditions = wanted.map(([type, reason, message]) => {
          const old = status.conditions?.find((c) => c.type === type && c.status === 'True');
          return old ?? { type, status: 'True', reason, message, lastTransitionTime: formatTime(env.now()) };
        });
        const storage = spec.versions.find((v) => v.storage)?.name ?? '';
        const storedVersions = [...new Set([...(status.storedVersions ?? []), storage])];
        return { ...current, status: { ...status, acceptedNames: spec.names, conditions, storedVersions } };
      },
    },
    call,
  );
  return false;
}

function setFinalizers(env: Env, resource: Resource, name: string, finalizers: string[]): void {
  const change = (current: AnyObject): AnyObject => ({ ...current, metadata: { ...current.metadata, finalizers } });
  updateObject(env, resource, { namespace: undefined, name, part: 'all', change }, internalCall());
}

/** Deletes all instances; gives how many are left, for their finalizers. */
function deleteInstances(env: Env, resources: readonly Resource[]): number {
  let left = 0;
  for (const resource of resources) {
    for (const { object } of env.store.collection(resource.storage).list()) {
      const { namespace, name, deletionTimestamp } = object.metadata;
      try {
        if (deletionTimestamp === undefined) deleteObject(env, resource, namespace, name, {}, internalCall());
      } catch (error) {
        if (!isStatus(error, 'NotFound')) throw error;
      }
    }
    left += env.store.collection(resource.storage).size;
  }
  return left;
}

/** What is left of a definition that went without its clean-up can no longer be reached by anybody. */
function dropInstances(env: Env, resources: readonly Resource[]): boolean {
  for (const { storage } of resources) {
    if (env.table.byStorage(storage) !== undefined) continue;
    const changes = env.store
      .collection(storage)
      .list()
      .map(({ key }) => ({ collection: storage, key, object: undefined }));
    if (changes.length > 0) commit(env, changes);
  }
  return false;
}
