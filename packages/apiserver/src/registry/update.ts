import { sameJson, StatusError, failure, statusErrors, type Json } from '@weft/kube';
import { trackFields, type Tracked } from '../apply/managers.ts';
import type { FieldError } from '../contract.ts';
import { type AnyObject, Stored } from '../store/stored.ts';
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
import { createObject, matchNamespace } from './create.ts';
import { validateMetadata, validateMetadataUpdate } from './metadata.ts';
import type { Resource } from './resource.ts';
import { clone, isRecord } from './json.ts';

/** Which part of an object a request may change. */
export type Part = 'all' | 'status' | 'ephemeralcontainers' | 'finalize' | 'binding';

export interface UpdateRequest {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly part: Part;
  /** Under which subresource the ownership of fields is recorded; by default the part. */
  readonly subresource?: string;
  /**
   * The wanted object, in the version of the resource, from the current one; gets a copy of its own. For a part, what
   * lies outside of it is ignored.
   */
  readonly change: (current: AnyObject) => AnyObject;
  /** Makes the object when there is none (PUT on some kinds, server-side apply). */
  readonly create?: () => AnyObject;
  /** `applied`: the object already says who owns its fields. */
  readonly tracked?: Tracked;
}

/** Kinds of which a PUT may create the object (strategies with AllowCreateOnUpdate). */
const CREATE_ON_UPDATE = new Set([
  '/endpoints',
  '/events',
  '/limitranges',
  '/resourcequotas',
  '/services',
  'coordination.k8s.io/leases',
  'rbac.authorization.k8s.io/clusterrolebindings',
  'rbac.authorization.k8s.io/clusterroles',
  'rbac.authorization.k8s.io/rolebindings',
  'rbac.authorization.k8s.io/roles',
]);

export const createsOnUpdate = (resource: Resource): boolean => CREATE_ON_UPDATE.has(resource.storage);

/** Changes an object, or a part of it. Throws 404, 409 or 422 as Kubernetes does. */
export function updateObject(env: Env, resource: Resource, request: UpdateRequest, call: Call): Result {
  const target = storedVersion(env, resource);
  const { api, strategy } = target;
  const { namespace, name, part } = request;
  const key = keyOf(namespace, name);
  const entry = env.store.collection(target.storage).get(key);
  if (entry === undefined) {
    if (request.create === undefined) throw statusErrors.notFound(api, name);
    return createObject(env, resource, namespace, request.create(), call, request.tracked);
  }
  const old = entry.object;
  const copy = clone(old);
  const wanted = request.change(resource.conversion?.fromStored(copy) ?? copy);
  let next = inOrder(resource.conversion?.toStored(wanted) ?? wanted);
  checkIdentity(target, next, old, namespace, name);

  const ctx = strategyContext(env, call.dryRun);
  if (part === 'all') {
    carrySystemFields(next, old);
    strategy.defaults?.(next);
    strategy.prepareUpdate?.(next, old, ctx);
    if (strategy.statusSubresource === true) keepField(next, old, 'status');
    if (target.storage === '/namespaces') keepField(next, old, 'spec');
  } else {
    next = partOf(target, next, old, part);
    carrySystemFields(next, old);
    if (part === 'status') strategy.prepareStatusUpdate?.(next, old, ctx);
    else if (part === 'ephemeralcontainers') strategy.defaults?.(next);
  }
  if (strategy.hasGeneration === true && part !== 'status' && specChanged(next, old)) {
    next.metadata.generation = (old.metadata.generation ?? 0) + 1;
  }

  const faults: FieldError[] = [
    ...validateMetadata(next.metadata, api.namespaced, strategy.nameRule),
    ...validateMetadataUpdate(next.metadata, old.metadata),
  ];
  if (part !== 'finalize' && part !== 'binding') {
    faults.push(...(strategy.validate?.(next, ctx) ?? []));
    if (part !== 'ephemeralcontainers' && part !== 'status') {
      faults.push(...(strategy.validateUpdate?.(next, old, ctx) ?? []));
    }
  }
  refuseInvalid(target, name, faults);
  trackFields(target, next, old, call, env.now(), request.tracked, request.subresource ?? (part === 'all' ? '' : part));

  if (!call.dryRun && sameJson(next as unknown as Json, old as unknown as Json)) {
    return { state: entry, created: false, deleted: false, durable: NOTHING_TO_SYNC };
  }
  if (part === 'all') refuseInvalid(target, name, strategy.allocate?.(next, old, ctx) ?? []);
  call.warnings.push(...(strategy.warnings?.(next, old) ?? []));
  if (call.dryRun) {
    return {
      state: new Stored(key, entry.rv, next, undefined),
      created: false,
      deleted: false,
      durable: NOTHING_TO_SYNC,
    };
  }
  // The last finalizer is gone: this write is the deletion.
  const deleted = isFinished(target, next);
  const change = { collection: target.storage, key };
  try {
    const { states, durable } = commit(env, [
      { ...change, object: next },
      ...(deleted ? [{ ...change, object: undefined }] : []),
    ]);
    if (deleted) strategy.release?.(next);
    return { state: states[0] as Stored, created: false, deleted, durable };
  } catch (error) {
    // The old state stays, and with it all that it holds; what only the new one wanted is free again.
    if (part === 'all') strategy.allocate?.(clone(old), next, ctx);
    throw error;
  }
}

/** True when an object that is being deleted has nothing left to wait for. */
export function isFinished(resource: Resource, object: AnyObject): boolean {
  const meta = object.metadata;
  if (meta.deletionTimestamp === undefined || (meta.deletionGracePeriodSeconds ?? 0) > 0) return false;
  if ((meta.finalizers?.length ?? 0) > 0) return false;
  if (resource.storage !== '/namespaces') return true;
  return !isRecord(object.spec) || ((object.spec.finalizers as unknown[] | undefined)?.length ?? 0) === 0;
}

function checkIdentity(
  resource: Resource,
  next: AnyObject,
  old: AnyObject,
  namespace: string | undefined,
  name: string,
): void {
  const meta = next.metadata;
  if (!meta.name) meta.name = name;
  if (meta.name !== name) {
    throw statusErrors.badRequest(`the name of the object (${meta.name}) does not match the name on the URL (${name})`);
  }
  matchNamespace(next, namespace);
  if (meta.resourceVersion && meta.resourceVersion !== old.metadata.resourceVersion) {
    throw statusErrors.conflict(resource.api, name);
  }
  if (meta.uid && meta.uid !== old.metadata.uid) {
    throw new StatusError(
      failure(
        'Conflict',
        `Operation cannot be fulfilled on ${resource.api.plural} "${name}": StorageError: invalid object, Code: 4, Key: /registry/${resource.api.plural}/${keyOf(namespace, name)}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: ${meta.uid}, UID in object meta: ${old.metadata.uid}`,
        { name, kind: resource.api.plural, ...(resource.api.group === '' ? {} : { group: resource.api.group }) },
      ),
    );
  }
}

const SYSTEM_FIELDS = [
  'uid',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'generation',
  'generateName',
  'resourceVersion',
] as const;

function carrySystemFields(next: AnyObject, old: AnyObject): void {
  const meta = next.metadata as unknown as Record<string, unknown>;
  for (const field of SYSTEM_FIELDS) {
    const value = old.metadata[field];
    if (value === undefined) delete meta[field];
    else meta[field] = value;
  }
  delete meta.selfLink;
}

function keepField(next: AnyObject, old: AnyObject, field: string): void {
  if (old[field] === undefined) delete next[field];
  else next[field] = old[field];
}

/** Kinds whose controllers write labels and annotations together with the status. */
const STATUS_WRITES_METADATA = new Set(['/nodes', '/pods', '/services', '/namespaces']);

function partOf(resource: Resource, wanted: AnyObject, old: AnyObject, part: Part): AnyObject {
  const out: AnyObject = { ...clone(old) };
  if (part === 'binding') return { ...out, metadata: wanted.metadata, spec: wanted.spec, status: wanted.status };
  if (wanted.metadata.managedFields !== undefined) out.metadata.managedFields = wanted.metadata.managedFields;
  if (part === 'status') {
    if (wanted.status === undefined) delete out.status;
    else out.status = wanted.status;
    if (STATUS_WRITES_METADATA.has(resource.storage)) {
      for (const field of ['labels', 'annotations'] as const) {
        const value = wanted.metadata[field];
        if (value === undefined) delete out.metadata[field];
        else out.metadata[field] = value;
      }
    }
  } else if (part === 'finalize') {
    const finalizers = isRecord(wanted.spec) ? wanted.spec.finalizers : undefined;
    out.spec = { ...(isRecord(out.spec) ? out.spec : {}), finalizers };
  } else {
    const containers = isRecord(wanted.spec) ? wanted.spec.ephemeralContainers : undefined;
    out.spec = { ...(isRecord(out.spec) ? out.spec : {}), ephemeralContainers: containers };
  }
  return out;
}

function specChanged(next: AnyObject, old: AnyObject): boolean {
  const fields = new Set([...Object.keys(next), ...Object.keys(old)]);
  for (const field of ['kind', 'apiVersion', 'metadata', 'status']) fields.delete(field);
  for (const field of fields) if (!sameJson(next[field] as Json, old[field] as Json)) return true;
  return false;
}
