import { mkdtempSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metrics, silentLogger } from '@weft/plan';
import { type ApiServer, type ApiServerOptions, startApiServer } from '../../src/index.ts';

export interface Answer {
  readonly code: number;
  readonly headers: IncomingMessage['headers'];
  /** Parsed when it is JSON, else the text. */
  readonly body: Parsed;
  readonly text: string;
}

/** Parsed JSON. The tests look into objects of every kind; a type for each would only repeat what they check. */
export type Parsed = ReturnType<typeof JSON.parse>;

/** A running server in a directory of its own, spoken to over its trusted Unix socket. */
export class TestServer {
  readonly directory: string;
  server!: ApiServer;
  readonly #options: Partial<ApiServerOptions>;

  constructor(options: Partial<ApiServerOptions> = {}) {
    this.directory = mkdtempSync(join(tmpdir(), 'weft-api-'));
    this.#options = options;
  }

  get socket(): string {
    return join(this.directory, 'api.sock');
  }

  async start(): Promise<this> {
    this.server = await startApiServer({
      dataDir: join(this.directory, 'data'),
      listen: undefined,
      unixPath: this.socket,
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: [30000, 32767],
      clusterDomain: 'cluster.local',
      advertiseAddress: '192.0.2.1',
      durability: 'none',
      log: silentLogger,
      metrics: new Metrics(),
      ...this.#options,
    });
    return this;
  }

  /** Ends the server and starts it again on the same data. */
  async restart(): Promise<void> {
    await this.server.close();
    await this.start();
  }

  async stop(): Promise<void> {
    await this.server?.close();
    rmSync(this.directory, { recursive: true, force: true });
  }

  /** Sends a request; an object becomes a JSON body. */
  async call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer> {
    return send(this.socket, method, path, body, headers);
  }

  get(path: string, headers?: Record<string, string>): Promise<Answer> {
    return this.call('GET', path, undefined, headers);
  }

  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer> {
    return this.call('POST', path, body, headers);
  }

  put(path: string, body: unknown): Promise<Answer> {
    return this.call('PUT', path, body);
  }

  patch(path: string, body: unknown, type: 'merge' | 'strategic' | 'json' | 'apply' = 'merge'): Promise<Answer> {
    return this.call('PATCH', path, body, { 'Content-Type': PATCH_TYPES[type] });
  }

  delete(path: string, body?: unknown): Promise<Answer> {
    return this.call('DELETE', path, body);
  }

  watch(path: string, headers: Record<string, string> = {}): Promise<WatchStream> {
    return WatchStream.open(this.socket, path, headers);
  }
}

const PATCH_TYPES = {
  merge: 'application/merge-patch+json',
  strategic: 'application/strategic-merge-patch+json',
  json: 'application/json-patch+json',
  apply: 'application/apply-patch+yaml',
} as const;

export async function send(
  socketPath: string,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Answer> {
  const payload =
    body === undefined ? undefined : Buffer.isBuffer(body) || typeof body === 'string' ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const req = request(
      {
        socketPath,
        // A kept connection would not survive a restart of the server.
        agent: false,
        method,
        path,
        headers: {
          ...(payload === undefined
            ? {}
            : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) }),
          ...headers,
        },
      },
      (res) => {
        const chunks: Buffer[] = [];
        res.on('data', (chunk: Buffer) => chunks.push(chunk));
        res.on('error', reject);
        res.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const json = (res.headers['content-type'] ?? '').startsWith('application/json');
          resolve({
            code: res.statusCode ?? 0,
            headers: res.headers,
            body: (json ? JSON.parse(text) : text) as Parsed,
            text,
          });
        });
      },
    );
    req.on('error', reject);
    req.end(payload);
  });
}

export interface WatchEvent {
  readonly type: string;
  readonly object: Parsed;
}

/** The events of one watch, in order. */
export class WatchStream {
  readonly code: number;
  readonly #events: WatchEvent[] = [];
  readonly #response: IncomingMessage;
  #wake: (() => void) | undefined;
  #ended = false;

  private constructor(response: IncomingMessage) {
    this.#response = response;
    this.code = response.statusCode ?? 0;
    let rest: string[] = [];
    response.setEncoding('utf8');
    response.on('data', (chunk: string) => {
      if (!chunk.includes('\n')) {
        rest.push(chunk);
        return;
      }
      const lines = [...rest, chunk].join('').split('\n');
      rest = [lines.pop() ?? ''];
      for (const line of lines) this.#events.push(JSON.parse(line) as WatchEvent);
      this.#wake?.();
    });
    response.on('close', () => {
      this.#ended = true;
      this.#wake?.();
    });
    response.on('error', () => {});
  }

  static open(socketPath: string, path: string, headers: Record<string, string> = {}): Promise<WatchStream> {
    return new Promise((resolve, reject) => {
      const req = request({ socketPath, agent: false, path, headers }, (res) => resolve(new WatchStream(res)));
      req.on('error', reject);
      req.end();
    });
  }

  /** The next event; undefined when the server ended the watch. */
  async next(): Promise<WatchEvent | undefined> {
    for (;;) {
      const event = this.#events.shift();
      if (event !== undefined) return event;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  /** The next `count` events as `TYPE name`. */
  async names(count: number): Promise<string[]> {
    const out: string[] = [];
    for (let i = 0; i < count; i++) {
      const event = await this.next();
      if (event === undefined) break;
      out.push(`${event.type} ${event.object.metadata?.name ?? ''}`.trimEnd());
    }
    return out;
  }

  pause(): void {
    this.#response.pause();
  }

  resume(): void {
    this.#response.resume();
  }

  close(): void {
    this.#response.destroy();
  }
}

export function configMap(name: string, data: Record<string, string> = {}, labels?: Record<string, string>): object {
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name, ...(labels === undefined ? {} : { labels }) },
    data,
  };
}

export function deployment(name: string, replicas = 2): { [key: string]: unknown } {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name, labels: { app: name } },
    spec: {
      replicas,
      selector: { matchLabels: { app: name } },
      template: {
        metadata: { labels: { app: name } },
        spec: { containers: [{ name: 'web', image: 'nginx', ports: [{ containerPort: 80 }] }] },
      },
    },
  };
}

export function pod(name: string, node?: string): { [key: string]: unknown } {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      containers: [{ name: 'c', image: 'busybox' }],
    },
  };
}
