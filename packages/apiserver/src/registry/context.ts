import { StatusError, type KubeObject, failure, statusErrors, type UserInfo } from '@weft/kube';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import type { FieldError, StrategyContext } from '../contract.ts';
import type { Change, Store } from '../store/store.ts';
import type { AnyObject, Stored } from '../store/stored.ts';
import type { FieldValidation } from './decode.ts';
import type { Resource, ResourceTable } from './resource.ts';

/** What every operation of the registry works with. */
export interface Env {
  readonly store: Store;
  readonly table: ResourceTable;
  readonly now: () => Date;
  readonly log: Logger;
}

/** What a request says besides its object. */
export interface Call {
  readonly user: UserInfo;
  /** True for `dryRun=All`: everything is checked and nothing is kept. */
  readonly dryRun: boolean;
  /** Who the changed fields are recorded for. */
  readonly manager: string;
  /** False when the name was only derived from the user agent; see apply/managers.ts. */
  readonly managerGiven: boolean;
  readonly validation: FieldValidation;
  /** Filled while the request is served, and sent as `Warning` headers. */
  readonly warnings: string[];
}

export interface Result {
  readonly state: Stored;
  readonly created: boolean;
  /** True when the object is gone for good. */
  readonly deleted: boolean;
  /** Resolves when the change survives a crash; a request is answered only then. */
  readonly durable: Promise<void>;
}

export const NOTHING_TO_SYNC: Promise<void> = Promise.resolve();

/** The call of the server's own controllers. */
export function internalCall(): Call {
  return {
    user: { username: 'system:apiserver', groups: ['system:masters', 'system:authenticated'] },
    dryRun: false,
    manager: 'weft-apiserver',
    managerGiven: false,
    validation: 'Ignore',
    warnings: [],
  };
}

export function keyOf(namespace: string | undefined, name: string): string {
  return namespace ? `${namespace}/${name}` : name;
}

/** The served version that a resource is stored in. Throws 404 when it is gone (a CRD that was just deleted). */
export function storedVersion(env: Env, resource: Resource): Resource {
  if (resource.isStored) return resource;
  const stored = env.table.byStorage(resource.storage);
  if (stored === undefined)
    throw new StatusError(failure('NotFound', 'the server could not find the requested resource'));
  return stored;
}

export function strategyContext(env: Env, dryRun: boolean): StrategyContext {
  return {
    get: (resource, namespace, name): KubeObject | undefined =>
      env.store.collection(resource).get(keyOf(namespace, name))?.object,
    list: (resource, namespace): readonly KubeObject[] =>
      env.store
        .collection(resource)
        .list(namespace)
        .map((entry) => entry.object),
    now: env.now,
    dryRun,
  };
}

/** Throws 422 when there are faults. */
export function refuseInvalid(resource: Resource, name: string, faults: readonly FieldError[]): void {
  if (faults.length > 0) throw statusErrors.invalid(resource.api, name, faults);
}

/** Commits, and words the store's failures as the API does. */
export function commit(env: Env, changes: readonly Change[]): { states: Stored[]; durable: Promise<void> } {
  try {
    const { states, durable } = env.store.commit(changes);
    const worded = durable.catch((error: unknown) => Promise.reject(asStatus(error)));
    // The server's own controllers do not wait for it.
    worded.catch(() => {});
    return { states, durable: worded };
  } catch (error) {
    throw asStatus(error);
  }
}

function asStatus(error: unknown): StatusError {
  if (error instanceof StatusError) return error;
  const text = errorMessage(error);
  const full = error instanceof WeftError && error.code === 'STORE_FULL';
  return new StatusError(
    failure('InternalError', `Internal error occurred: ${text}`, { causes: [{ message: text }] }, full ? 507 : 500),
    error instanceof WeftError ? error.hint : undefined,
  );
}

/** The object with its fields in the order of the API: kind, apiVersion and metadata first, status last. */
export function inOrder(object: AnyObject): AnyObject {
  const { kind, apiVersion, metadata, status, ...rest } = object;
  const out = { kind, apiVersion, metadata, ...rest } as AnyObject;
  if (status !== undefined) out.status = status;
  return out;
}
