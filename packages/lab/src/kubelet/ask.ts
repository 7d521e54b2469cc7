import http from 'node:http';
import https from 'node:https';
import { connect } from 'node:net';
import type { Container, HTTPGetAction, IntOrString, Probe, TCPSocketAction } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Runtime } from '../runtime/index.ts';
import type { ProbeResult } from './probes.ts';

const MAX_BODY = 10 * 1024;
const MAX_REDIRECTS = 10;

/** The number of a port that is given by number or by the name of one of the container's ports. */
function portNumber(port: IntOrString, container: Container): number | undefined {
  if (typeof port === 'number') return port;
  const named = container.ports?.find((p) => p.name === port)?.containerPort;
  if (named !== undefined) return named;
  return /^\d+$/.test(port) ? Number(port) : undefined;
}

/** Go's words for what went wrong on a connection. */
function dialError(error: NodeJS.ErrnoException, address: string): string {
  const words: Record<string, string> = {
    ECONNREFUSED: `dial tcp ${address}: connect: connection refused`,
    EHOSTUNREACH: `dial tcp ${address}: connect: no route to host`,
    ENETUNREACH: `dial tcp ${address}: connect: network is unreachable`,
    ETIMEDOUT: `dial tcp ${address}: connect: connection timed out`,
    ECONNRESET: `read tcp ${address}: read: connection reset by peer`,
    ENOTFOUND: `dial tcp: lookup ${address}: no such host`,
  };
  return words[error.code ?? ''] ?? (error.message === 'socket hang up' ? 'EOF' : error.message);
}

interface Answer {
  readonly code: number;
  readonly body: string;
  readonly location?: string;
}

function get(url: URL, headers: Record<string, string>, timeoutMs: number): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const secure = url.protocol === 'https:';
    const options = { method: 'GET', headers, agent: false, timeout: timeoutMs, rejectUnauthorized: false };
    const request = (secure ? https : http).request(url, options);
    const timer = setTimeout(() => {
      request.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)'));
    }, timeoutMs);
    request.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    request.once('response', (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        if (body.length < MAX_BODY) body += text;
      });
      const done = (): void => {
        clearTimeout(timer);
        const { location } = response.headers;
        resolve({ code: response.statusCode ?? 0, body, ...(location === undefined ? {} : { location }) });
      };
      response.once('end', done);
      response.once('error', done);
    });
    request.end();
  });
}

export interface AskContext {
  readonly runtime: Runtime;
  readonly containerId: string;
  readonly container: Container;
  /** Address of the pod, used where the probe names no host. */
  readonly podIP: string;
}

/** A GET as probes and hooks make it: 2xx and 3xx are good, redirects are followed on the same host. */
export async function askHttp(action: HTTPGetAction, context: AskContext, timeoutMs: number): Promise<ProbeResult> {
  const port = portNumber(action.port, context.container);
  if (port === undefined) return { ok: false, message: `couldn't find port: ${action.port}` };
  const host = action.host || context.podIP;
  const shown = host.includes(':') ? `[${host}]` : host;
  const path = action.path ?? '/';
  const headers: Record<string, string> = { 'User-Agent': 'kube-probe/1.33', Accept: '*/*', Connection: 'close' };
  for (const { name, value } of action.httpHeaders ?? []) headers[name] = value;
  let url = new URL(
    `${(action.scheme ?? 'HTTP').toLowerCase()}://${shown}:${port}${path.startsWith('/') ? path : `/${path}`}`,
  );
  const first = url;
  const until = performance.now() + timeoutMs;
  for (let redirects = 0; ; redirects++) {
    let answer: Answer;
    try {
      answer = await get(url, headers, Math.max(1, until - performance.now()));
    } catch (error) {
      const why = dialError(error as NodeJS.ErrnoException, `${shown}:${port}`);
      return { ok: false, message: `Get "${url.href}": ${why}` };
    }
    if (answer.code >= 300 && answer.code < 400 && answer.location !== undefined && redirects < MAX_REDIRECTS) {
      const next = new URL(answer.location, url);
      if (next.hostname === first.hostname) {
        url = next;
        continue;
      }
    }
    const ok = answer.code >= 200 && answer.code < 400;
    return { ok, message: ok ? '' : `HTTP probe failed with statuscode: ${answer.code}` };
  }
}

function askTcp(action: TCPSocketAction, context: AskContext, timeoutMs: number): Promise<ProbeResult> {
  const port = portNumber(action.port, context.container);
  if (port === undefined) return Promise.resolve({ ok: false, message: `couldn't find port: ${action.port}` });
  const host = action.host || context.podIP;
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const end = (result: ProbeResult): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve(result);
    };
    const timer = setTimeout(() => end({ ok: false, message: `dial tcp ${address}: i/o timeout` }), timeoutMs);
    socket.once('connect', () => end({ ok: true, message: '' }));
    socket.once('error', (error) => end({ ok: false, message: dialError(error, address) }));
  });
}

export async function askExec(
  command: readonly string[],
  context: AskContext,
  timeoutMs: number,
): Promise<ProbeResult> {
  try {
    const result = await context.runtime.execSync(context.containerId, command, timeoutMs);
    if (result.timedOut) {
      const message = `command timed out: "${command.join(' ')}" timed out after ${timeoutMs / 1000}s`;
      return { ok: false, message };
    }
    return { ok: result.code === 0, message: result.code === 0 ? '' : `${result.stdout}${result.stderr}` };
  } catch (error) {
    return { ok: false, message: errorMessage(error) };
  }
}

/** Asks a container once, as its probe says. Never throws. */
export async function askProbe(probe: Probe, context: AskContext): Promise<ProbeResult> {
  const timeoutMs = (probe.timeoutSeconds ?? 1) * 1000;
  if (probe.exec !== undefined) return askExec(probe.exec.command ?? [], context, timeoutMs);
  if (probe.httpGet !== undefined) return askHttp(probe.httpGet, context, timeoutMs);
  if (probe.tcpSocket !== undefined) return askTcp(probe.tcpSocket, context, timeoutMs);
  if (probe.grpc !== undefined) {
    const { askGrpc } = await import('./ask-grpc.ts');
    return askGrpc(probe.grpc, context.podIP, timeoutMs);
  }
  return { ok: true, message: '' };
}
