import { type DeleteOptions, statusErrors } from '@weft/kube';
import { type AnyObject, Stored } from '../store/stored.ts';
import {
  type Call,
  commit,
  type Env,
  keyOf,
  NOTHING_TO_SYNC,
  refuseInvalid,
  type Result,
  storedVersion,
  strategyContext,
} from './context.ts';
import { formatTime } from './metadata.ts';
import type { Resource } from './resource.ts';
import { isFinished } from './update.ts';
import { clone } from './json.ts';

const ORPHAN = 'orphan';
const FOREGROUND = 'foregroundDeletion';

/** Deletes an object, or marks it when finalizers, dependents or a grace period must be waited for. */
export function deleteObject(
  env: Env,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  options: DeleteOptions,
  call: Call,
): Result {
  const target = storedVersion(env, resource);
  const { api, strategy } = target;
  const key = keyOf(namespace, name);
  const entry = env.store.collection(target.storage).get(key);
  if (entry === undefined) throw statusErrors.notFound(api, name);
  const old = entry.object;
  checkPreconditions(target, old, options);
  const ctx = strategyContext(env, call.dryRun);
  refuseInvalid(target, name, strategy.validateDelete?.(old, ctx) ?? []);

  const next = clone(old);
  setPropagation(next, options);
  const requested = options.gracePeriodSeconds;
  const grace = strategy.gracefulDelete?.(old, requested) ?? 0;
  if (grace <= 0 && isFinished(target, marked(next, env.now(), 0))) return remove(env, target, key, entry, call);

  const soonest = old.metadata.deletionTimestamp;
  if (soonest === undefined) Object.assign(next, marked(next, env.now(), grace));
  const meta = next.metadata;
  if (soonest === undefined) {
    if (meta.generation !== undefined) meta.generation += 1;
    if (target.storage === '/namespaces') next.status = { ...(next.status as object), phase: 'Terminating' };
  } else if (strategy.gracefulDelete !== undefined && grace < (meta.deletionGracePeriodSeconds ?? 0)) {
    // A later request may only shorten the wait.
    const began = Date.parse(soonest) - (old.metadata.deletionGracePeriodSeconds ?? 0) * 1000;
    meta.deletionGracePeriodSeconds = grace;
    meta.deletionTimestamp = formatTime(new Date(began + grace * 1000));
  } else if (JSON.stringify(meta.finalizers) === JSON.stringify(old.metadata.finalizers)) {
    return { state: entry, created: false, deleted: false, durable: NOTHING_TO_SYNC };
  }
  if (call.dryRun) {
    return {
      state: new Stored(key, entry.rv, next, undefined),
      created: false,
      deleted: false,
      durable: NOTHING_TO_SYNC,
    };
  }
  const { states, durable } = commit(env, [{ collection: target.storage, key, object: next }]);
  return { state: states[0] as Stored, created: false, deleted: false, durable };
}

function remove(env: Env, target: Resource, key: string, entry: Stored, call: Call): Result {
  if (call.dryRun) return { state: entry, created: false, deleted: true, durable: NOTHING_TO_SYNC };
  const { states, durable } = commit(env, [{ collection: target.storage, key, object: undefined }]);
  target.strategy.release?.(entry.object);
  return { state: states[0] ?? entry, created: false, deleted: true, durable };
}

/** The object with the marks of deletion. */
function marked(object: AnyObject, now: Date, grace: number): AnyObject {
  const deletionTimestamp = formatTime(new Date(now.getTime() + grace * 1000));
  return { ...object, metadata: { ...object.metadata, deletionTimestamp, deletionGracePeriodSeconds: grace } };
}

function checkPreconditions(resource: Resource, old: AnyObject, options: DeleteOptions): void {
  const { uid, resourceVersion } = options.preconditions ?? {};
  const { name } = old.metadata;
  if (uid !== undefined && uid !== old.metadata.uid) {
    throw statusErrors.conflict(
      resource.api,
      name,
      `the UID in the precondition (${uid}) does not match the UID in record (${old.metadata.uid}). The object might have been deleted and then recreated`,
    );
  }
  if (resourceVersion !== undefined && resourceVersion !== old.metadata.resourceVersion) {
    throw statusErrors.conflict(
      resource.api,
      name,
      `the ResourceVersion in the precondition (${resourceVersion}) does not match the ResourceVersion in record (${old.metadata.resourceVersion}). The object might have been modified`,
    );
  }
}

/** Says what happens to dependents by a finalizer that the garbage collector acts on, in place. */
function setPropagation(object: AnyObject, options: DeleteOptions): void {
  const meta = object.metadata;
  const policy =
    options.propagationPolicy ??
    (options.orphanDependents === undefined ? undefined : options.orphanDependents ? 'Orphan' : 'Background');
  if (policy === undefined) return;
  const others = (meta.finalizers ?? []).filter((f) => f !== ORPHAN && f !== FOREGROUND);
  const added = policy === 'Orphan' ? [ORPHAN] : policy === 'Foreground' ? [FOREGROUND] : [];
  const finalizers = [...others, ...added];
  if (finalizers.length > 0) meta.finalizers = finalizers;
  else delete meta.finalizers;
}
