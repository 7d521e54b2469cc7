import { randomUUID } from 'node:crypto';
import { failure, StatusError, statusErrors } from '@weft/kube';
import { type Tracked, trackFields } from '../apply/managers.ts';
import { type AnyObject, Stored } from '../store/stored.ts';
import { admitNamespaced } from './admission.ts';
import {
  type Call,
  commit,
  type Env,
  inOrder,
  keyOf,
  NOTHING_TO_SYNC,
  refuseInvalid,
  type Result,
  storedVersion,
  strategyContext,
} from './context.ts';
import { formatTime, nameSuffix, validateMetadata } from './metadata.ts';
import type { Resource } from './resource.ts';

const TRIES = 8;

/** Creates an object. `draft` is the caller's own copy, of the version of `resource`. */
export function createObject(
  env: Env,
  resource: Resource,
  namespace: string | undefined,
  draft: AnyObject,
  call: Call,
  tracked?: Tracked,
): Result {
  const target = storedVersion(env, resource);
  const { api, strategy } = target;
  const object = inOrder(resource.conversion?.toStored(draft) ?? draft);
  const meta = object.metadata;
  matchNamespace(object, namespace);
  if (meta.resourceVersion) {
    throw statusErrors.badRequest('resourceVersion should not be set on objects to be created');
  }
  const ctx = strategyContext(env, call.dryRun);
  fillMetadata(env, object, target);
  const generated = !meta.name && meta.generateName ? meta.generateName : undefined;
  if (generated !== undefined) meta.name = generateName(generated);
  strategy.defaults?.(object);
  admitNamespaced(env, target, object);
  strategy.prepareCreate?.(object, ctx);
  refuseInvalid(target, meta.name ?? '', [
    ...validateMetadata(meta, api.namespaced, strategy.nameRule),
    ...(strategy.validate?.(object, ctx) ?? []),
  ]);

  const collection = env.store.collection(target.storage);
  for (let tries = 1; collection.get(keyOf(meta.namespace, meta.name)) !== undefined; tries++) {
    if (generated === undefined || tries === TRIES) throw statusErrors.alreadyExists(api, meta.name);
    meta.name = generateName(generated);
  }
  refuseInvalid(target, meta.name, strategy.allocate?.(object, undefined, ctx) ?? []);
  call.warnings.push(...(strategy.warnings?.(object, undefined) ?? []));
  trackFields(target, object, undefined, call, env.now(), tracked);

  const key = keyOf(meta.namespace, meta.name);
  if (call.dryRun) {
    return { state: new Stored(key, 0, object, undefined), created: true, deleted: false, durable: NOTHING_TO_SYNC };
  }
  try {
    const { states, durable } = commit(env, [{ collection: target.storage, key, object }]);
    return { state: states[0] as Stored, created: true, deleted: false, durable };
  } catch (error) {
    strategy.release?.(object);
    throw error;
  }
}

function generateName(stem: string): string {
  return stem.slice(0, 63 - 5) + nameSuffix();
}

/** Takes the namespace from the URL. Throws 400 when the object names another. */
export function matchNamespace(object: AnyObject, namespace: string | undefined): void {
  const meta = object.metadata;
  const given = meta.namespace || undefined;
  if (given === namespace) return;
  if (given === undefined) meta.namespace = namespace as string;
  else if (namespace === undefined && given === 'default') delete meta.namespace;
  else {
    throw statusErrors.badRequest(
      'the namespace of the provided object does not match the namespace sent on the request',
    );
  }
}

function fillMetadata(env: Env, object: AnyObject, resource: Resource): void {
  const meta = object.metadata;
  meta.uid = randomUUID();
  meta.creationTimestamp = formatTime(env.now());
  delete meta.deletionTimestamp;
  delete meta.deletionGracePeriodSeconds;
  delete meta.selfLink;
  if (resource.strategy.hasGeneration === true) meta.generation = 1;
  else delete meta.generation;
}

/** 404 with the text that kubectl shows for a path without a resource. */
export function noSuchResource(): StatusError {
  return new StatusError(failure('NotFound', 'the server could not find the requested resource', {}));
}
