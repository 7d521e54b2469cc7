import type { Logger } from '@weft/plan';
import type { Status } from '../types/meta.ts';
import type { Transport } from './transport.ts';

export interface KubeClientOptions {
  readonly transport: Transport;
  readonly userAgent?: string;
  readonly log?: Logger;
  /** Milliseconds without a byte before a request other than a watch fails. Default 30 s. */
  readonly timeoutMs?: number;
}

/** Parameters that every request takes. */
export interface CallOptions {
  readonly signal?: AbortSignal;
}

export interface WriteOptions extends CallOptions {
  /** Validate and admit, but store nothing. */
  readonly dryRun?: boolean;
  readonly fieldManager?: string;
  readonly fieldValidation?: 'Ignore' | 'Warn' | 'Strict';
}

export interface ListOptions extends CallOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  readonly limit?: number;
  readonly continue?: string;
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'Exact' | 'NotOlderThan';
}

export interface ListResult<T> {
  readonly items: T[];
  readonly resourceVersion: string;
  /** Present when `limit` cut the list; hand it to the next call. */
  readonly continue?: string;
  readonly remainingItemCount?: number;
}

export interface WatchOptions {
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /** Start after this version; without it the server first sends what exists as ADDED events. */
  readonly resourceVersion?: string;
  readonly resourceVersionMatch?: 'NotOlderThan';
  readonly sendInitialEvents?: boolean;
  readonly allowWatchBookmarks?: boolean;
  /** The server ends the watch after this time. */
  readonly timeoutSeconds?: number;
  /** Milliseconds without a byte before the connection is given up as dead. Default: never. */
  readonly idleTimeoutMs?: number;
  /** Called once the server accepted the watch, before the first event. */
  readonly onOpen?: () => void;
}

/** One line of a watch stream. An ERROR carries a Status; a BOOKMARK an object with nothing but a resourceVersion. */
export type WatchEvent<T> =
  | { readonly type: 'ADDED' | 'MODIFIED' | 'DELETED' | 'BOOKMARK'; readonly object: T }
  | { readonly type: 'ERROR'; readonly object: Status };

export type PatchType = 'merge' | 'strategic' | 'json' | 'apply';

export interface PatchOptions extends WriteOptions {
  /** Default `merge` (RFC 7386). `apply` needs `fieldManager`. */
  readonly type?: PatchType;
  readonly subresource?: string;
  /** Server-side apply: take over fields that another manager owns. */
  readonly force?: boolean;
}

export interface DeleteCallOptions extends CallOptions {
  readonly propagationPolicy?: 'Orphan' | 'Background' | 'Foreground';
  readonly gracePeriodSeconds?: number;
  /** Delete only the object with this uid (409 Conflict otherwise). */
  readonly uid?: string;
  readonly resourceVersion?: string;
}

export interface RawRequest extends CallOptions {
  readonly method?: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, QueryValue>>;
  readonly body?: unknown;
  readonly contentType?: string;
  readonly accept?: string;
  /** Milliseconds without a byte; 0 waits for ever. Default: the client's `timeoutMs`. */
  readonly idleTimeoutMs?: number;
}

export type QueryValue = string | number | boolean | undefined;
