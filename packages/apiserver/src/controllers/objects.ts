import { isStatus } from '@weft/kube';
import { type Env, internalCall, keyOf, type Result } from '../registry/context.ts';
import { createObject } from '../registry/create.ts';
import type { Resource } from '../registry/resource.ts';
import { updateObject } from '../registry/update.ts';
import type { AnyObject } from '../store/stored.ts';

/** A built-in resource, which is always served. */
export function builtin(env: Env, group: string, version: string, plural: string): Resource {
  return env.table.find(group, version, plural) as Resource;
}

/** An object to be made, without what the server fills in. */
export type Wanted = Pick<AnyObject, 'apiVersion' | 'kind'> & {
  metadata: Partial<AnyObject['metadata']> & { name: string };
  [field: string]: unknown;
};

/** Creates an object unless there is one of that name. */
export function ensure(env: Env, resource: Resource, wanted: Wanted): Result | undefined {
  const { namespace, name } = wanted.metadata;
  if (env.store.collection(resource.storage).get(keyOf(namespace, name)) !== undefined) return undefined;
  try {
    return createObject(env, resource, namespace, structuredClone(wanted) as AnyObject, internalCall());
  } catch (error) {
    if (isStatus(error, 'AlreadyExists')) return undefined;
    throw error;
  }
}

/** Creates an object, or brings the given fields of an existing one (all but metadata) to the given values. */
export function ensureFields(env: Env, resource: Resource, wanted: Wanted): Result | undefined {
  const { namespace, name } = wanted.metadata;
  if (env.store.collection(resource.storage).get(keyOf(namespace, name)) === undefined) {
    return ensure(env, resource, wanted);
  }
  const { metadata: _, ...fields } = structuredClone(wanted) as AnyObject;
  return updateObject(
    env,
    resource,
    { namespace, name, part: 'all', change: (current) => ({ ...current, ...fields }) },
    internalCall(),
  );
}
