import type { ServerResponse } from 'node:http';
import { failure, type Status } from '@weft/kube';
import type { Env } from '../registry/context.ts';
import { invalidOption, parseInteger, parseVersion, selectStates } from '../registry/list.ts';
import type { Selection } from '../registry/select.ts';
import { isTrue } from '../http/request-info.ts';
import { renderEventObject, type View, viewKey } from '../http/render.ts';
import type { EventType, Stored, StoreEvent } from '../store/stored.ts';

/** A reader that lets this many bytes pile up is cut off; it comes back from where it was. */
const MAX_BUFFERED = 32 * 1024 * 1024;
const DEFAULT_TIMEOUT_S = 3600;
const INITIAL_EVENTS_END = 'k8s.io/initial-events-end';

/** All running watches: sends bookmarks, and ends them when the server closes. */
export class Watches {
  readonly #running = new Set<Watch>();
  readonly #timer: NodeJS.Timeout;

  /** `interval` is the time between bookmarks in milliseconds. */
  constructor(interval = 60_000) {
    this.#timer = setInterval(() => {
      for (const watch of this.#running) watch.bookmark();
    }, interval);
    this.#timer.unref();
  }

  get size(): number {
    return this.#running.size;
  }

  add(watch: Watch): void {
    this.#running.add(watch);
  }

  delete(watch: Watch): void {
    this.#running.delete(watch);
  }

  close(): void {
    clearInterval(this.#timer);
    for (const watch of this.#running) watch.end();
  }
}

/** One client's watch of one resource. */
export class Watch {
  readonly #env: Env;
  readonly #response: ServerResponse;
  readonly #view: View;
  readonly #selection: Selection;
  readonly #watches: Watches;
  readonly #bookmarks: boolean;
  readonly #key: string;
  #columnsSent = false;
  #corked = false;
  #stop: (() => void) | undefined;
  #timer: NodeJS.Timeout | undefined;

  private constructor(
    env: Env,
    watches: Watches,
    response: ServerResponse,
    view: View,
    selection: Selection,
    bookmarks: boolean,
  ) {
    this.#env = env;
    this.#watches = watches;
    this.#response = response;
    this.#view = view;
    this.#selection = selection;
    this.#bookmarks = bookmarks;
    this.#key = viewKey(view);
  }

  /**
   * Answers a watch request. A resource version that is too old is told in the stream (an ERROR event with the 410
   * Status), as kube-apiserver's watch cache does.
   */
  static serve(
    env: Env,
    watches: Watches,
    response: ServerResponse,
    view: View,
    selection: Selection,
    query: URLSearchParams,
  ): void {
    const asked = parseVersion(query.get('resourceVersion'));
    const initial = isTrue(query.get('sendInitialEvents'));
    const bookmarks = isTrue(query.get('allowWatchBookmarks'));
    checkOptions(query, initial, bookmarks);
    const timeout = parseTimeout(query.get('timeoutSeconds'));
    const watch = new Watch(env, watches, response, view, selection, bookmarks);
    response.writeHead(200, { 'Content-Type': 'application/json', 'Cache-Control': 'no-cache, private' });
    response.flushHeaders();
    watch.#start(asked, initial, query.has('sendInitialEvents'));
    if (response.writableEnded) return;
    watch.#timer = setTimeout(() => {
      watch.bookmark();
      watch.end();
    }, timeout * 1000);
    response.on('close', () => watch.#close());
    watches.add(watch);
  }

  /** Tells the client how far it is, when it asked to be told. */
  bookmark(annotations?: Record<string, string>): void {
    if (!this.#bookmarks) return;
    const { resource } = this.#view;
    const object = {
      kind: resource.api.kind,
      apiVersion: resource.apiVersion,
      metadata: {
        resourceVersion: String(this.#env.store.rv),
        creationTimestamp: null,
        ...(annotations === undefined ? {} : { annotations }),
      },
    };
    this.#write(Buffer.from(`${JSON.stringify({ type: 'BOOKMARK', object })}\n`));
  }

  end(): void {
    this.#close();
    this.#response.end();
  }

  #close(): void {
    this.#stop?.();
    this.#stop = undefined;
    clearTimeout(this.#timer);
    this.#watches.delete(this);
  }

  #start(asked: number | undefined, initial: boolean, listStyle: boolean): void {
    const { store } = this.#env;
    const collection = store.collection(this.#view.resource.storage);
    const fromNow = asked === undefined || asked === 0;
    if (initial || (fromNow && !listStyle)) {
      if (asked !== undefined && asked > store.rv) return this.#expire(asked);
      for (const state of selectStates(collection, this.#selection)) this.#send('ADDED', state);
      if (initial) this.bookmark({ [INITIAL_EVENTS_END]: 'true' });
    } else if (!fromNow) {
      const missed = store.isExpired(collection, asked) ? undefined : collection.since(asked);
      if (missed === undefined) return this.#expire(asked);
      for (const event of missed) this.#deliver(event);
    }
    this.#stop = collection.subscribe((event) => this.#deliver(event));
  }

  #expire(asked: number): void {
    const { store } = this.#env;
    const floor = store.collection(this.#view.resource.storage).floor;
    const status: Status = failure(
      'Expired',
      `too old resource version: ${asked} (${Math.max(floor, asked > store.rv ? store.rv : 0) + 1})`,
    );
    this.#response.end(`${JSON.stringify({ type: 'ERROR', object: status })}\n`);
  }

  #deliver(event: StoreEvent): void {
    const { matches } = this.#selection;
    const was = event.previous !== undefined && matches(event.previous);
    const is = event.type !== 'DELETED' && matches(event.current);
    if (is) this.#send(was ? 'MODIFIED' : 'ADDED', event.current, event);
    else if (was) this.#send('DELETED', event.left, event);
  }

  #send(type: EventType, state: Stored, event?: StoreEvent): void {
    const columns = this.#view.form.as === 'table' && !this.#columnsSent;
    this.#columnsSent = true;
    const make = (): Buffer =>
      Buffer.concat([
        Buffer.from(`{"type":"${type}","object":`),
        renderEventObject({ ...this.#view, now: this.#env.now() }, state, columns),
        LINE_END,
      ]);
    this.#write(event === undefined ? make() : event.line(`${type}|${columns}|${this.#key}`, make));
  }

  #write(line: Buffer): void {
    const response = this.#response;
    if (response.writableLength > MAX_BUFFERED) {
      // Everything after this point would be out of order: the client has to come back.
      this.#close();
      response.destroy();
      return;
    }
    if (!this.#corked) {
      // Several events of one tick leave in one packet.
      this.#corked = true;
      response.cork();
      process.nextTick(() => {
        this.#corked = false;
        response.uncork();
      });
    }
    response.write(line);
  }
}

const LINE_END = Buffer.from('}\n');
/** The longest time that a timer of Node can wait; a longer one would end at once. */
const MAX_TIMEOUT_S = 2_147_483;

function parseTimeout(text: string | null): number {
  const seconds = parseInteger(text);
  return seconds <= 0 ? DEFAULT_TIMEOUT_S : Math.min(seconds, MAX_TIMEOUT_S);
}

function checkOptions(query: URLSearchParams, initial: boolean, bookmarks: boolean): void {
  const match = query.get('resourceVersionMatch');
  if (query.has('sendInitialEvents')) {
    if (match !== 'NotOlderThan') {
      throw invalidOption(
        'resourceVersionMatch',
        'Forbidden: sendInitialEvents requires setting resourceVersionMatch to NotOlderThan',
      );
    }
    if (initial && !bookmarks) {
      throw invalidOption('allowWatchBookmarks', 'Forbidden: sendInitialEvents requires allowWatchBookmarks to be set');
    }
  } else if (match) {
    throw invalidOption(
      'resourceVersionMatch',
      'Forbidden: resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided',
    );
  }
}
