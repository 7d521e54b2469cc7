import { errorMessage, flatten, type Logger, type Metrics, silentLogger } from '@weft/plan';
import type { KubeClient } from '../client/client.ts';
import type { WatchEvent } from '../client/options.ts';
import { type KubeObject, objectKey } from '../object.ts';
import { groupResource, type ResourceType } from '../resources.ts';
import { isExpired, StatusError } from '../status.ts';
import { Backoff } from './backoff.ts';
import { mustRelist, refusesStreamingList } from './failures.ts';
import { observeInformer } from './observe.ts';
import { type IndexFunction, Store } from './store.ts';

/** The annotation on the bookmark that ends the initial events of a streaming list (KEP-3157). */
export const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

export interface InformerOptions<Raw extends KubeObject, T = Raw> {
  readonly client: Pick<KubeClient, 'watch' | 'list'>;
  readonly type: ResourceType<Raw>;
  /** One namespace; all when absent. */
  readonly namespace?: string;
  readonly labelSelector?: string;
  readonly fieldSelector?: string;
  /**
   * Slims an object before it is stored; undefined leaves it out (and removes what was stored). Must be pure. The
   * default drops `metadata.managedFields`, which nobody reads and which is half of many objects. `key` is the store's
   * own string: an object that needs its key keeps this one.
   */
  transform?(object: Raw, key: string): T | undefined;
  readonly log?: Logger;
  readonly metrics?: Metrics;
  /** The `informer` label of metrics and log lines. Default: the plural of the type. */
  readonly name?: string;
  /** Milliseconds without a byte before a watch is opened anew. Default 3 min; API servers send a bookmark a minute. */
  readonly idleTimeoutMs?: number;
  /** Milliseconds that a streaming list may stall before it is replaced by list and watch. Default 10 s. */
  readonly initialStallMs?: number;
  /** Items per page when listing. Default 500. */
  readonly pageSize?: number;
  readonly backoff?: Backoff;
}

/** Called synchronously, after the store changed. What a handler throws is logged and goes no further. */
export interface InformerHandlers<T> {
  add?(object: T): void;
  update?(before: T, after: T): void;
  /** Gets the object as it was stored last. */
  delete?(object: T): void;
  /** The store holds all that existed when the informer started. Called once. */
  synced?(): void;
}

/** What an informer went through so far. */
export interface InformerStats {
  events: number;
  /** Streams opened after the first. */
  reconnects: number;
  /** Complete readings of the state, by streaming list or by list. */
  lists: number;
  /** Objects and events that were malformed, or that `transform` threw on. */
  skipped: number;
}

const WATCH_SECONDS = 300;
const WATCH_JITTER_SECONDS = 60;

/**
 * Keeps a store equal to what the API server holds and reports every change.
 *
 * It reads the state as a stream (WatchList, KEP-3157) and goes on with the same stream; a server that refuses this is
 * listed and watched. After a cut it resumes from the last version seen, bookmarks included. When that version is no
 * longer kept (410) it reads the state again and reports the differences only. It retries for ever and never throws.
 */
export class Informer<Raw extends KubeObject, T = Raw> {
  /** Resolves once the first reading of the state is complete; rejects when stopped before. */
  readonly synced: Promise<void>;
  readonly stats: InformerStats = { events: 0, reconnects: 0, lists: 0, skipped: 0 };

  readonly #options: InformerOptions<Raw, T>;
  readonly #store = new Store<T>();
  readonly #handlers = new Set<InformerHandlers<T>>();
  readonly #log: Logger;
  readonly #backoff: Backoff;
  #resolveSynced!: () => void;
  #rejectSynced!: (reason: unknown) => void;
  #running: Promise<void> | undefined;
  #hasSynced = false;
  #connected = false;
  #streamingList = true;
  /** Resume here; empty asks for the whole state. */
  #version = '';
  /** The current stream delivered something, or lived long enough to be called healthy. */
  #healthy = false;
  #lastFailure = '';

  constructor(options: InformerOptions<Raw, T>) {
    this.#options = options;
    this.#log = (options.log ?? silentLogger).child({ informer: options.name ?? groupResource(options.type) });
    this.#backoff = options.backoff ?? new Backoff();
    this.synced = new Promise((resolve, reject) => {
      this.#resolveSynced = resolve;
      this.#rejectSynced = reject;
    });
    // Nobody has to wait for it.
    this.synced.catch(() => {});
    if (options.metrics) observeInformer(options.metrics, options.name ?? options.type.plural, this);
  }

  get hasSynced(): boolean {
    return this.#hasSynced;
  }

  /** True while a watch stream is open. */
  get connected(): boolean {
    return this.#connected;
  }

  /** The version of the last event or bookmark; empty before the first sync. */
  get lastResourceVersion(): string {
    return this.#version;
  }

  get size(): number {
    return this.#store.size;
  }

  /** `key` is `namespace/name`, or `name` for cluster-scoped objects. */
  get(key: string): T | undefined {
    return this.#store.get(key);
  }

  list(): T[] {
    return this.#store.list();
  }

  index(name: string, valuesOf: IndexFunction<T>): void {
    this.#store.index(name, valuesOf);
  }

  byIndex(name: string, value: string): T[] {
    return this.#store.byIndex(name, value);
  }

  /** Adds handlers and at once replays what is stored as `add` (and `synced`). Returns the way to remove them. */
  on(handlers: InformerHandlers<T>): () => void {
    this.#handlers.add(handlers);
    for (const object of this.#store.list()) this.#call(() => handlers.add?.(object));
    if (this.#hasSynced) this.#call(() => handlers.synced?.());
    return () => void this.#handlers.delete(handlers);
  }

  /** Starts following; `signal` stops it. A second call does nothing. */
  start(signal: AbortSignal): void {
    this.#running ??= this.#run(signal);
  }

  /** Resolves when the informer has stopped. */
  async stopped(): Promise<void> {
    await this.#running;
  }

  async #run(signal: AbortSignal): Promise<void> {
    let first = true;
    while (!signal.aborted) {
      if (!first) this.stats.reconnects++;
      first = false;
      this.#healthy = false;
      const openedAt = performance.now();
      let retryNow = false;
      try {
        await this.#session(signal);
        // The server ends every watch after a while; only one that ends at once with nothing to say is suspicious.
        retryNow = this.#healthy || performance.now() - openedAt > 1000;
      } catch (error) {
        if (signal.aborted) break;
        retryNow = this.#recover(error);
      }
      this.#connected = false;
      if (this.#healthy) this.#backoff.reset();
      if (!retryNow && !signal.aborted) await sleep(this.#backoff.next(), signal);
    }
    this.#connected = false;
    if (!this.#hasSynced) this.#rejectSynced(signal.reason);
  }

  /** Decides how to go on after a failed session. True: at once. */
  #recover(error: unknown): boolean {
    const resumed = this.#version !== '';
    if (resumed && mustRelist(error)) {
      this.#log.info('the last version is no longer kept, reading the state again', { error: errorMessage(error) });
      this.#version = '';
      return this.#healthy;
    }
    if (!resumed && this.#streamingList && refusesStreamingList(error)) {
      this.#log.debug('the server has no streaming lists, using list and watch', { error: errorMessage(error) });
      this.#streamingList = false;
      return true;
    }
    const message = errorMessage(error);
    // The same complaint every few seconds hides all others.
    if (message === this.#lastFailure) this.#log.debug('the watch failed again', { error: message });
    else this.#log.warn('the watch failed, trying again', { error: message });
    this.#lastFailure = message;
    return false;
  }

  async #session(signal: AbortSignal): Promise<void> {
    if (this.#version === '' && this.#streamingList) {
      await this.#follow(signal, true);
      return;
    }
    if (this.#version === '') await this.#listAll(signal);
    await this.#follow(signal, false);
  }

  /** One watch stream: a streaming list that goes on, or one that resumes. */
  async #follow(signal: AbortSignal, streamingList: boolean): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector } = this.#options;
    // An own controller, so that nothing stays attached to the caller's long-lived signal.
    const session = new AbortController();
    const stop = (): void => session.abort(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    // Keys seen so far of a streaming list. Nothing else may hold on to it: the stream lives for minutes.
    let seen = streamingList ? new Set<string>() : undefined;
    let stalled = false;
    let stallTimer: NodeJS.Timeout | undefined;
    const onEvent = (event: WatchEvent<Raw>): void => {
      if (session.signal.aborted) return;
      stallTimer?.refresh();
      if (this.#apply(event, seen)) {
        seen = undefined;
        clearTimeout(stallTimer);
        stallTimer = undefined;
      }
    };
    const onOpen = (): void => {
      this.#connected = true;
      if (seen === undefined) return;
      stallTimer = setTimeout(() => {
        stalled = true;
        session.abort();
      }, this.#options.initialStallMs ?? 10_000);
    };
    try {
      await client.watch(
        type,
        namespace,
        {
          ...(labelSelector ? { labelSelector } : {}),
          ...(fieldSelector ? { fieldSelector } : {}),
          ...(seen ? { sendInitialEvents: true, resourceVersionMatch: 'NotOlderThan' } : {}),
          ...(this.#version ? { resourceVersion: this.#version } : {}),
          allowWatchBookmarks: true,
          timeoutSeconds: WATCH_SECONDS + Math.floor(Math.random() * WATCH_JITTER_SECONDS),
          idleTimeoutMs: this.#options.idleTimeoutMs ?? 180_000,
          onOpen,
        },
        onEvent,
        session.signal,
      );
    } finally {
      clearTimeout(stallTimer);
      signal.removeEventListener('abort', stop);
      this.#connected = false;
    }
    if (stalled) {
      this.#log.info('the server ignores the request for a streaming list, using list and watch');
      this.#streamingList = false;
      this.#healthy = true;
    }
  }

  /** Applies one event. True when it was the bookmark that ends the initial events. */
  #apply(event: WatchEvent<Raw>, seen: Set<string> | undefined): boolean {
    if (event.type === 'ERROR') throw new StatusError(event.object);
    this.stats.events++;
    this.#healthy = true;
    const meta = event.object?.metadata;
    const version = meta?.resourceVersion;
    if (event.type === 'BOOKMARK') {
      if (typeof version !== 'string') return false;
      if (seen === undefined) {
        this.#version = version;
        return false;
      }
      if (meta.annotations?.[INITIAL_EVENTS_END] !== 'true') return false;
      this.#complete(seen, version);
      return true;
    }
    if (typeof meta?.name !== 'string' || typeof version !== 'string') {
      this.stats.skipped++;
      this.#log.warn('ignoring a watch event without metadata.name or metadata.resourceVersion', { type: event.type });
      return false;
    }
    const key = flatten(objectKey(event.object));
    if (event.type === 'DELETED') {
      seen?.delete(key);
      this.#remove(key);
    } else {
      seen?.add(key);
      this.#put(key, version, event.object);
    }
    // Initial events come in no order of versions: only the bookmark at their end is a place to resume from.
    if (seen === undefined) this.#version = version;
    return false;
  }

  /** Lists page by page and reports the differences to the store. */
  async #listAll(signal: AbortSignal): Promise<void> {
    const { client, type, namespace, labelSelector, fieldSelector, pageSize = 500 } = this.#options;
    const seen = new Set<string>();
    const base = { ...(labelSelector ? { labelSelector } : {}), ...(fieldSelector ? { fieldSelector } : {}), signal };
    let limit: number | undefined = pageSize;
    let next: string | undefined;
    for (;;) {
      let page: Awaited<ReturnType<typeof client.list<Raw>>>;
      try {
        page = await client.list(type, namespace, {
          ...base,
          ...(limit ? { limit } : {}),
          ...(next ? { continue: next } : {}),
        });
      } catch (error) {
        if (next === undefined || !isExpired(error)) throw error;
        // The pages outlived the version they belong to: take everything in one piece.
        limit = undefined;
        next = undefined;
        seen.clear();
        continue;
      }
      for (const object of page.items) {
        const meta = object?.metadata;
        if (typeof meta?.name !== 'string') {
          this.stats.skipped++;
          continue;
        }
        const key = flatten(objectKey(object));
        seen.add(key);
        this.#put(key, meta.resourceVersion ?? '', object);
      }
      next = page.continue;
      if (next === undefined) {
        this.#complete(seen, page.resourceVersion);
        return;
      }
    }
  }

  /** The whole state was read: what was not in it is gone. */
  #complete(seen: ReadonlySet<string>, version: string): void {
    for (const key of this.#store.keys()) if (!seen.has(key)) this.#remove(key);
    this.#version = version;
    this.#healthy = true;
    this.stats.lists++;
    if (this.#hasSynced) return;
    this.#hasSynced = true;
    for (const handlers of this.#handlers) this.#call(() => handlers.synced?.());
    this.#resolveSynced();
  }

  #put(key: string, version: string, raw: Raw): void {
    // The same version is the same object: resumed streams and repeated lists bring many again.
    if (version !== '' && this.#store.version(key) === version) return;
    let object: T | undefined;
    try {
      object = this.#options.transform
        ? this.#options.transform(raw, key)
        : (withoutManagedFields(raw) as unknown as T);
    } catch (error) {
      this.stats.skipped++;
      this.#log.error('ignoring an object that transform failed on', { key, error });
      return;
    }
    if (object === undefined) {
      this.#remove(key);
      return;
    }
    const existed = this.#store.version(key) !== undefined;
    const before = this.#store.set(key, object, version);
    const after = object;
    for (const handlers of this.#handlers) {
      this.#call(() => (existed ? handlers.update?.(before as T, after) : handlers.add?.(after)));
    }
  }

  #remove(key: string): void {
    if (this.#store.version(key) === undefined) return;
    const object = this.#store.delete(key) as T;
    for (const handlers of this.#handlers) this.#call(() => handlers.delete?.(object));
  }

  #call(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      this.#log.error('a handler failed', { error });
    }
  }
}

/** The default transform: drops `metadata.managedFields` in place. */
export function withoutManagedFields<T extends KubeObject>(object: T): T {
  if (object.metadata.managedFields !== undefined) delete object.metadata.managedFields;
  return object;
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener('abort', done, { once: true });
  });
}
