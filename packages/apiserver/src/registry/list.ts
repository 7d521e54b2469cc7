import { randomBytes } from 'node:crypto';
import { failure, StatusError, statusErrors } from '@weft/kube';
import type { Collection } from '../store/collection.ts';
import type { Stored } from '../store/stored.ts';
import { type Env, keyOf } from './context.ts';
import type { Resource } from './resource.ts';
import type { Selection } from './select.ts';

export interface ListPage {
  readonly states: readonly Stored[];
  readonly resourceVersion: number;
  readonly continue?: string;
  readonly remaining?: number;
}

const MAX_KEPT = 64;
const KEEP_MS = 5 * 60 * 1000;

interface Kept {
  readonly rest: readonly Stored[];
  readonly rv: number;
  readonly selected: boolean;
  readonly until: number;
}

/**
 * The lists that clients are paging through. A page shows the state of the moment the first one was made, because the
 * states it refers to never change; a token that is no longer kept is answered with 410, as after a compaction of etcd.
 */
export class Pages {
  readonly #kept = new Map<string, Kept>();
  readonly #now: () => Date;

  constructor(now: () => Date) {
    this.#now = now;
  }

  first(states: readonly Stored[], rv: number, limit: number, selected: boolean): ListPage {
    return this.#page(states, rv, limit, selected);
  }

  next(token: string, limit: number): ListPage {
    const kept = this.#kept.get(token);
    if (kept === undefined || kept.until < this.#now().getTime()) {
      throw statusErrors.expired(
        'The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter.',
      );
    }
    return this.#page(kept.rest, kept.rv, limit, kept.selected);
  }

  #page(states: readonly Stored[], rv: number, limit: number, selected: boolean): ListPage {
    if (limit <= 0 || states.length <= limit) return { states, resourceVersion: rv };
    const token = randomBytes(18).toString('base64url');
    const rest = states.slice(limit);
    this.#kept.set(token, { rest, rv, selected, until: this.#now().getTime() + KEEP_MS });
    for (const old of this.#kept.keys()) {
      if (this.#kept.size <= MAX_KEPT) break;
      this.#kept.delete(old);
    }
    return {
      states: states.slice(0, limit),
      resourceVersion: rv,
      continue: token,
      // With a selector the API server does not know how many are left.
      ...(selected ? {} : { remaining: rest.length }),
    };
  }
}

/** Reads `resourceVersion` of a query. Throws 400 for anything but a number. */
export function parseVersion(text: string | null): number | undefined {
  if (text === null || text === '') return undefined;
  const rv = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(rv)) {
    throw new StatusError(
      failure(
        'Invalid',
        ` "" is invalid: resourceVersion: Invalid value: "${text}": strconv.ParseUint: parsing "${text}": invalid syntax`,
        {
          causes: [{ reason: 'FieldValueInvalid', field: 'resourceVersion', message: `Invalid value: "${text}"` }],
        },
      ),
    );
  }
  return rv;
}

/** Reads a number of a query; 0 when it is not there. Throws 400 for anything but a number. */
export function parseInteger(text: string | null): number {
  if (text === null || text === '') return 0;
  if (/^[+-]?\d+$/.test(text)) return Number(text);
  throw statusErrors.badRequest(`strconv.ParseInt: parsing "${text}": invalid syntax`);
}

/** The answer to a version from the future: the store was replaced, or the client is confused. */
function versionTooLarge(asked: number, current: number): StatusError {
  return new StatusError(
    failure(
      'Timeout',
      `Too large resource version: ${asked}, current: ${current}`,
      { causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }], retryAfterSeconds: 1 },
      504,
    ),
  );
}

/** The states of a selection now, in key order. */
export function selectStates(collection: Collection, selection: Selection): Stored[] {
  if (selection.name !== undefined && (selection.namespace !== undefined || selection.name === '')) {
    const state = collection.get(keyOf(selection.namespace, selection.name));
    return state !== undefined && selection.matches(state) ? [state] : [];
  }
  const states = collection.list(selection.namespace);
  return selection.everything ? states : states.filter(selection.matches);
}

/** Lists with the semantics of `resourceVersion`, `resourceVersionMatch`, `limit` and `continue`. */
export function listObjects(
  env: Env,
  pages: Pages,
  resource: Resource,
  selection: Selection,
  query: URLSearchParams,
): ListPage {
  const collection = env.store.collection(resource.storage);
  const limit = parseInteger(query.get('limit'));
  if (query.get('sendInitialEvents')) {
    throw invalidOption('sendInitialEvents', 'Forbidden: sendInitialEvents is forbidden for list');
  }
  const token = query.get('continue');
  if (token) return pages.next(token, limit);
  const asked = parseVersion(query.get('resourceVersion'));
  const match = query.get('resourceVersionMatch');
  if (match && asked === undefined) {
    throw invalidOption(
      'resourceVersionMatch',
      'Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
  }
  if (asked !== undefined && asked > env.store.rv) throw versionTooLarge(asked, env.store.rv);
  if (match === 'Exact' && asked !== undefined && asked < env.store.rv) {
    // Only the present is kept; it is the past asked for when nothing of this resource has changed since.
    const since = asked === 0 ? undefined : collection.since(asked);
    if (since === undefined || since.length > 0) {
      throw statusErrors.expired('The resourceVersion for the provided list is too old.');
    }
  }
  return pages.first(selectStates(collection, selection), env.store.rv, limit, !selection.everything);
}

/** 422 for a query parameter. */
export function invalidOption(field: string, message: string): StatusError {
  return new StatusError(
    failure('Invalid', ` "" is invalid: ${field}: ${message}`, {
      causes: [{ reason: 'FieldValueForbidden', field, message }],
    }),
  );
}
