import { mkdirSync, rmSync } from 'node:fs';
import http from 'node:http';
import path from 'node:path';
import { errorMessage, WeftError } from '@weft/plan';
import type { Progress, ProgressEvent } from './progress.ts';

/** What the control socket answers to `status`. */
export interface SupervisorStatus {
  readonly pid: number;
  readonly units: readonly { readonly name: string; readonly running: boolean; readonly stopped: boolean }[];
  /** Why pods cannot reach outside; undefined when they can. */
  readonly wayOutObstacle?: string;
}

export interface ControlHandlers {
  status(): Promise<SupervisorStatus>;
  stopNode(name: string): Promise<void>;
  startNode(name: string): Promise<void>;
}

/** Serves the supervisor's control socket: HTTP on a unix socket that only the cluster's owner can open. */
export function serveControl(socketPath: string, progress: Progress, handlers: ControlHandlers): Promise<http.Server> {
  mkdirSync(path.dirname(socketPath), { recursive: true, mode: 0o700 });
  rmSync(socketPath, { force: true });
  const server = http.createServer((request, response) => {
    const url = new URL(request.url ?? '/', 'http://weft');
    const reply = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    };
    const fail = (error: unknown): void => {
      const known = error instanceof WeftError ? error : undefined;
      reply(known === undefined ? 500 : 400, {
        code: known?.code ?? 'INTERNAL',
        message: errorMessage(error),
        hint: known?.hint,
      });
    };
    if (request.method === 'GET' && url.pathname === '/progress') {
      response.writeHead(200, { 'content-type': 'application/x-ndjson' });
      const stop = progress.follow((event) => {
        response.write(`${JSON.stringify(event)}\n`);
        if (event.type === 'ready' || event.type === 'failed') response.end();
      });
      response.on('close', stop);
    } else if (request.method === 'GET' && url.pathname === '/status')
      handlers.status().then((status) => reply(200, status), fail);
    else if (request.method === 'POST' && (url.pathname === '/node/stop' || url.pathname === '/node/start')) {
      const name = url.searchParams.get('name') ?? '';
      const act = url.pathname === '/node/stop' ? handlers.stopNode(name) : handlers.startNode(name);
      act.then(() => reply(200, {}), fail);
    } else reply(404, { code: 'NOT_FOUND', message: `no ${request.method} ${url.pathname}` });
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => resolve(server));
  });
}

/** Asks a running supervisor. Throws WeftError NOT_RUNNING when none answers. */
export function askControl<T>(socketPath: string, method: 'GET' | 'POST', target: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method, path: target }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk));
      response.on('end', () => {
        const body = JSON.parse(Buffer.concat(chunks).toString('utf8')) as T & {
          code?: string;
          message?: string;
          hint?: string;
        };
        if (response.statusCode === 200) resolve(body);
        else
          reject(
            new WeftError({
              code: body.code ?? 'CONTROL',
              message: body.message ?? 'the supervisor refused',
              ...(body.hint === undefined ? {} : { hint: body.hint }),
            }),
          );
      });
    });
    request.on('error', (cause) => {
      reject(
        new WeftError({
          code: 'NOT_RUNNING',
          message: 'the cluster is not running',
          hint: 'start it with: weft up',
          cause,
        }),
      );
    });
    request.end();
  });
}

/** Follows the start of a cluster until it is ready, has failed, or the connection ends. */
export function followProgress(
  socketPath: string,
  onEvent: (event: ProgressEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = http.request({ socketPath, method: 'GET', path: '/progress', signal }, (response) => {
      let rest = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        const lines = (rest + chunk).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) onEvent(JSON.parse(line) as ProgressEvent);
      });
      response.on('end', resolve);
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end();
  });
}
