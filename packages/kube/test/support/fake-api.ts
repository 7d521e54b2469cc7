import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { KubeObject } from '../../src/index.ts';

interface LoggedEvent {
  readonly version: number;
  readonly type: string;
  readonly object: KubeObject;
}

export interface FakeApiOptions {
  /** What the server makes of a request for a streaming list. */
  watchList?: 'serve' | 'refuse' | 'ignore';
  /** Cuts everything that is written to a watch into pieces of so many bytes. */
  chunkBytes?: number;
}

/** A real HTTP server on a Unix socket that speaks list and watch for one collection of ConfigMaps. */
export class FakeApi {
  readonly path: string;
  readonly options: FakeApiOptions;
  readonly requests: URL[] = [];
  readonly objects = new Map<string, KubeObject>();
  /** Answers the next requests instead of the server, first in first out; return false to pass. */
  readonly intercept: ((url: URL, res: ServerResponse, req: IncomingMessage) => boolean)[] = [];
  version = 100;
  /** Versions up to this one can no longer be resumed from. */
  compacted = 0;

  readonly #server: Server;
  readonly #dir: string;
  readonly #watches = new Set<ServerResponse>();
  #log: LoggedEvent[] = [];

  constructor(options: FakeApiOptions = {}) {
    this.options = options;
    this.#dir = mkdtempSync(join(tmpdir(), 'weft-kube-'));
    this.path = join(this.#dir, 'api.sock');
    this.#server = createServer((req, res) => this.#handle(req, res));
  }

  async listen(): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(this.path, resolve));
    return this;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
    rmSync(this.#dir, { recursive: true, force: true });
  }

  get watchCount(): number {
    return this.#watches.size;
  }

  put(name: string, data: Record<string, string> = {}, labels?: Record<string, string>): KubeObject {
    const key = `default/${name}`;
    const type = this.objects.has(key) ? 'MODIFIED' : 'ADDED';
    const object = {
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: {
        name,
        namespace: 'default',
        resourceVersion: String(++this.version),
        ...(labels ? { labels } : {}),
        managedFields: [{ manager: 'test' }],
      },
      data,
    };
    this.objects.set(key, object);
    this.#publish(type, object);
    return object;
  }

  remove(name: string): void {
    const key = `default/${name}`;
    const object = this.objects.get(key);
    if (!object) throw new Error(`no ${key}`);
    this.objects.delete(key);
    this.#publish('DELETED', { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.version) } });
  }

  /** Forgets the history: whoever resumes from before gets 410. */
  compact(): void {
    this.compacted = this.version;
    this.#log = [];
  }

  bookmark(version = ++this.version): void {
    for (const res of this.#watches) this.#line(res, bookmark(version));
  }

  /** Ends the running watches: politely, or by cutting the connection. */
  drop(how: 'end' | 'cut'): void {
    for (const res of this.#watches) {
      if (how === 'end') res.end();
      else res.destroy();
    }
    this.#watches.clear();
  }

  /** Sends bytes as they are to all watches. */
  raw(bytes: string | Buffer): void {
    for (const res of this.#watches) res.write(bytes);
  }

  sendError(status: Record<string, unknown>): void {
    for (const res of this.#watches) this.#line(res, { type: 'ERROR', object: { kind: 'Status', ...status } });
  }

  #publish(type: string, object: KubeObject): void {
    this.#log.push({ version: this.version, type, object });
    for (const res of this.#watches) this.#line(res, { type, object });
  }

  #line(res: ServerResponse, value: unknown): void {
    const bytes = Buffer.from(`${JSON.stringify(value)}\n`);
    const step = this.options.chunkBytes ?? bytes.length;
    for (let at = 0; at < bytes.length; at += step) res.write(bytes.subarray(at, at + step));
  }

  #handle(req: IncomingMessage, res: ServerResponse): void {
    const url = new URL(req.url ?? '/', 'http://localhost');
    this.requests.push(url);
    const takeOver = this.intercept.shift();
    if (takeOver?.(url, res, req)) return;
    if (url.searchParams.get('watch')) this.#watch(url, res);
    else this.#list(url, res);
  }

  #list(url: URL, res: ServerResponse): void {
    const all = [...this.objects.values()];
    const from = Number(url.searchParams.get('continue') ?? 0);
    const limit = Number(url.searchParams.get('limit') ?? all.length) || all.length;
    const items = all.slice(from, from + limit);
    const more = from + limit < all.length;
    answer(res, 200, {
      kind: 'ConfigMapList',
      apiVersion: 'v1',
      metadata: { resourceVersion: String(this.version), ...(more ? { continue: String(from + limit) } : {}) },
      items,
    });
  }

  #watch(url: URL, res: ServerResponse): void {
    const streaming = url.searchParams.get('sendInitialEvents') === 'true';
    const mode = this.options.watchList ?? 'serve';
    if (streaming && mode === 'refuse') {
      refuse(res, 422, 'Invalid', 'sendInitialEvents: Forbidden: sendInitialEvents is forbidden for watch');
      return;
    }
    const from = Number(url.searchParams.get('resourceVersion') ?? 0);
    res.writeHead(200, { 'content-type': 'application/json' });
    res.flushHeaders();
    if (from !== 0 && from < this.compacted) {
      this.#line(res, { type: 'ERROR', object: statusOf(410, 'Expired', `too old resource version: ${from}`) });
      res.end();
      return;
    }
    res.once('close', () => this.#watches.delete(res));
    if (from === 0) {
      for (const object of this.objects.values()) this.#line(res, { type: 'ADDED', object });
    } else for (const e of this.#log) if (e.version > from) this.#line(res, { type: e.type, object: e.object });
    if (streaming && mode === 'serve') {
      this.#line(res, bookmark(this.version, { 'k8s.io/initial-events-end': 'true' }));
    }
    this.#watches.add(res);
  }
}

function bookmark(version: number, annotations?: Record<string, string>): unknown {
  const metadata = {
    resourceVersion: String(version),
    creationTimestamp: null,
    ...(annotations ? { annotations } : {}),
  };
  return { type: 'BOOKMARK', object: { kind: 'ConfigMap', apiVersion: 'v1', metadata } };
}

function statusOf(code: number, reason: string, message: string): Record<string, unknown> {
  return { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, reason, code };
}

export function answer(res: ServerResponse, code: number, body: unknown, headers: Record<string, string> = {}): void {
  res.writeHead(code, { 'content-type': 'application/json', ...headers });
  res.end(JSON.stringify(body));
}

export function refuse(res: ServerResponse, code: number, reason: string, message: string): void {
  answer(res, code, statusOf(code, reason, message));
}

/** Waits until `condition` holds, looking again after every turn of the event loop that takes a moment. */
export async function until(condition: () => boolean, what = 'the condition'): Promise<void> {
  for (let i = 0; i < 5000; i++) {
    if (condition()) return;
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  throw new Error(`${what} did not come true`);
}
