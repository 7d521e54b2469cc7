import { rmSync } from 'node:fs';
import http, { type IncomingMessage, type ServerResponse } from 'node:http';
import { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { connectTcp, NetNs } from '@weft/kernel';
import { failure, type Pod, type Status } from '@weft/kube';
import { errorMessage, type Logger } from '@weft/plan';
import { type Container, logBytes, type Runtime, type Sandbox } from '../runtime/index.ts';
import { allStatuses, definitionOf } from './pod.ts';
import { serveAttach, serveExec, type StreamOptions } from './streams.ts';

/** A pod of this node, as requests need it. */
export interface ServedPod {
  readonly pod: Pod;
  readonly status: NonNullable<Pod['status']>;
  readonly sandbox: Sandbox | undefined;
  containers(name: string): readonly Container[];
}

export interface KubeletServerOptions {
  readonly socketPath: string;
  readonly runtime: Runtime;
  readonly find: (namespace: string, name: string) => ServedPod | undefined;
  readonly log: Logger;
}

/** A refusal with the status that the client gets to see. */
class Refusal extends Error {
  readonly code: number;
  readonly status: Status;

  constructor(reason: 'BadRequest' | 'NotFound' | 'InternalError', message: string, code?: number) {
    super(message);
    this.status = failure(reason, message, undefined, code);
    this.code = this.status.code ?? 500;
  }
}

function asRefusal(error: unknown): Refusal {
  return error instanceof Refusal
    ? error
    : new Refusal('InternalError', `Internal error occurred: ${errorMessage(error)}`);
}

/** The container whose log is asked for. Throws Refusal in Kubernetes' words when it has none (yet). */
function loggedContainer(found: ServedPod, name: string, previous: boolean): Container {
  const { pod, status } = found;
  if (definitionOf(pod, name) === undefined)
    throw new Refusal('BadRequest', `container ${name} is not valid for pod ${pod.metadata.name}`);
  const where = `container "${name}" in pod "${pod.metadata.name}"`;
  const all = found.containers(name);
  const shown = allStatuses(status).find((s) => s.name === name);
  const byId = (id: string | undefined): Container | undefined => all.find((c) => `runc://${c.id}` === id);
  if (previous) {
    const last = byId(shown?.lastState?.terminated?.containerID);
    if (last === undefined) throw new Refusal('BadRequest', `previous terminated ${where} not found`);
    return last;
  }
  const newest = all.at(-1);
  if (newest !== undefined && newest.state !== 'created') return newest;
  const before = all.at(-2);
  if (before !== undefined) return before;
  const reason = shown?.state?.waiting?.reason ?? 'ContainerCreating';
  const text: Record<string, string> = {
    ErrImagePull: "image can't be pulled",
    ImagePullBackOff: 'trying and failing to pull image',
  };
  throw new Refusal('BadRequest', `${where} is waiting to start: ${text[reason] ?? reason}`);
}

const flag = (query: URLSearchParams, name: string): boolean => ['true', '1'].includes(query.get(name) ?? '');

function count(query: URLSearchParams, name: string): number | undefined {
  const text = query.get(name);
  if (text === null || text === '') return undefined;
  if (!/^\d+$/.test(text))
    throw new Refusal('BadRequest', `${name}: Invalid value: "${text}": must be a non-negative integer`);
  return Number(text);
}

/** The kubelet's server: logs, exec, attach and port-forward, for the API server on a unix socket. */
export class KubeletServer {
  readonly #options: KubeletServerOptions;
  readonly #server: http.Server;

  constructor(options: KubeletServerOptions) {
    this.#options = options;
    this.#server = http.createServer((request, response) => {
      this.#answer(request, response).catch((error: unknown) => {
        const refusal = asRefusal(error);
        if (response.headersSent) return response.destroy();
        response.writeHead(refusal.code, { 'Content-Type': 'application/json' }).end(JSON.stringify(refusal.status));
      });
    });
    this.#server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
      socket.on('error', () => socket.destroy());
      this.#upgrade(request, socket, head).catch((error: unknown) => {
        const refusal = asRefusal(error);
        const body = JSON.stringify(refusal.status);
        socket.end(
          `HTTP/1.1 ${refusal.code} ${http.STATUS_CODES[refusal.code] ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
        );
      });
    });
    // A follower may be silent for days.
    this.#server.requestTimeout = 0;
    this.#server.timeout = 0;
  }

  start(): Promise<void> {
    rmSync(this.#options.socketPath, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(this.#options.socketPath, () => {
        this.#server.off('error', reject);
        this.#server.on('error', (error) => this.#options.log.error('the kubelet server failed', { error }));
        resolve();
      });
    });
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #find(query: URLSearchParams): ServedPod {
    const name = query.get('pod') ?? '';
    const found = this.#options.find(query.get('namespace') ?? 'default', name);
    if (found === undefined) throw new Refusal('NotFound', `pod "${name}" not found`);
    return found;
  }

  #running(found: ServedPod, query: URLSearchParams): Container {
    const name = query.get('container') || (found.pod.spec.containers[0]?.name ?? '');
    if (definitionOf(found.pod, name) === undefined) {
      throw new Refusal('BadRequest', `container ${name} is not valid for pod ${found.pod.metadata.name}`);
    }
    const newest = found.containers(name).at(-1);
    if (newest?.state !== 'running') {
      throw new Refusal('InternalError', `unable to upgrade connection: container not found ("${name}")`);
    }
    return newest;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://kubelet');
    if (url.pathname === '/healthz') return void response.end('ok');
    if (url.pathname !== '/logs') throw new Refusal('NotFound', 'the server could not find the requested resource');
    await this.#logs(url.searchParams, request, response);
  }

  async #logs(query: URLSearchParams, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const found = this.#find(query);
    const name = query.get('container') || (found.pod.spec.containers[0]?.name ?? '');
    const container = loggedContainer(found, name, flag(query, 'previous'));
    const abort = new AbortController();
    request.once('close', () => abort.abort());
    response.once('close', () => abort.abort());
    const tailLines = count(query, 'tailLines');
    const limitBytes = count(query, 'limitBytes');
    const sinceSeconds = count(query, 'sinceSeconds');
    const sinceTime = query.get('sinceTime');
    const sinceMs =
      sinceSeconds !== undefined ? Date.now() - sinceSeconds * 1000 : sinceTime ? Date.parse(sinceTime) : undefined;
    const { runtime } = this.#options;
    const log = logBytes(container.logPath, {
      follow: flag(query, 'follow'),
      timestamps: flag(query, 'timestamps'),
      ...(tailLines === undefined ? {} : { tailLines }),
      ...(limitBytes === undefined ? {} : { limitBytes }),
      ...(sinceMs === undefined ? {} : { sinceMs }),
      signal: abort.signal,
      running: () => runtime.containers.get(container.id)?.state === 'running',
    });
    response.writeHead(200, { 'Content-Type': 'text/plain' });
    response.flushHeaders();
    try {
      for await (const chunk of log) {
        if (!response.write(chunk) && !response.destroyed) {
          await new Promise<void>((resolve) => {
            response.once('drain', resolve);
            response.once('close', resolve);
          });
        }
        if (response.destroyed) return;
      }
    } catch (error) {
      // A container that could not be started has no log.
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    }
    response.end();
  }

  async #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://kubelet');
    const query = url.searchParams;
    const found = this.#find(query);
    if (url.pathname === '/portforward') return this.#portForward(found, query, socket, head);
    if (url.pathname !== '/exec' && url.pathname !== '/attach') {
      throw new Refusal('NotFound', 'the server could not find the requested resource');
    }
    const container = this.#running(found, query);
    const tty = flag(query, 'tty');
    const options: StreamOptions = {
      stdin: flag(query, 'stdin'),
      stdout: flag(query, 'stdout'),
      stderr: flag(query, 'stderr') && !tty,
      tty,
    };
    const { runtime } = this.#options;
    if (url.pathname === '/exec') {
      const command = query.getAll('command');
      if (command.length === 0)
        throw new Refusal('BadRequest', 'you must specify at least 1 command for the container');
      accept(socket);
      await serveExec(runtime, container, command, options, socket, head);
    } else {
      accept(socket);
      await serveAttach(runtime, container, options, socket, head);
    }
  }

  async #portForward(found: ServedPod, query: URLSearchParams, socket: Duplex, head: Buffer): Promise<void> {
    const port = count(query, 'port') ?? 0;
    const { sandbox } = found;
    if (sandbox === undefined) {
      throw new Refusal('InternalError', `unable to do port forwarding: pod ${found.pod.metadata.name} is not running`);
    }
    const fd = await connectLocal(sandbox, port);
    accept(socket);
    const remote = new Socket({ fd, readable: true, writable: true, allowHalfOpen: true });
    if (head.length > 0) remote.write(head);
    socket.pipe(remote);
    remote.pipe(socket);
    const end = (): void => {
      remote.destroy();
      socket.destroy();
    };
    remote.on('error', end);
    socket.on('error', end);
    remote.on('close', () => socket.end());
    socket.on('close', () => remote.destroy());
  }
}

function accept(socket: Duplex): void {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: weft-stream\r\n\r\n');
}

/** A connection to a port on the loopback addresses inside a pod. */
async function connectLocal(sandbox: Sandbox, port: number): Promise<number> {
  const ns = sandbox.hostNetwork ? undefined : NetNs.open(sandbox.netnsPath);
  const problems: string[] = [];
  try {
    for (const address of ['127.0.0.1', '::1']) {
      try {
        return await connectTcp(address, port, ns);
      } catch (error) {
        const refused = (error as { code?: string }).code === 'ECONNREFUSED';
        const family = address === '::1' ? '6' : '4';
        const text = family === '6' ? `[${address}]:${port}` : `${address}:${port}`;
        problems.push(
          `IPv${family}${family === '4' ? ':' : ''} dial tcp${family} ${text}: ${refused ? 'connect: connection refused' : errorMessage(error)}`,
        );
      }
    }
  } finally {
    ns?.close();
  }
  const message = `error forwarding port ${port} to pod ${sandbox.id}, uid : failed to connect to localhost:${port} inside namespace "${sandbox.id}", ${problems.join(' ')}`;
  throw new Refusal('InternalError', message, 502);
}
