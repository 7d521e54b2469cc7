import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { failure, StatusError } from '@weft/kube';
import { errorMessage, type Logger } from '@weft/plan';
import { ANONYMOUS, authenticate, unauthorized } from '../auth/authenticate.ts';
import { noSuchResource } from '../registry/create.ts';
import type { Api, Exchange } from './api.ts';
import { serveNonResource } from './non-resource.ts';
import { parseRequest, type RequestInfo } from './request-info.ts';
import { serveResource } from './resources.ts';
import { sendStatus, statusOf, wantsPretty } from './respond.ts';
import { streamRoute } from './streams.ts';

/** Paths that need no credential. */
const PUBLIC = /^\/(healthz|livez|readyz|version|openid\/v1\/jwks|\.well-known\/openid-configuration)(\/|$)/;

/** The function that node:http calls for every request of one listener. */
export function requestHandler(
  api: Api,
  trusted: boolean,
): (request: IncomingMessage, response: ServerResponse) => void {
  const total = api.metrics.counter('apiserver_request_total', 'Requests by verb, resource and HTTP code.');
  const duration = api.metrics.histogram(
    'apiserver_request_duration_seconds',
    'Time to answer a request, without watches, by verb and resource.',
  );
  const log = api.env.log.child({ component: 'apiserver' });
  return (request, response) => {
    const started = process.hrtime.bigint();
    const { path, query } = splitUrl(request.url ?? '/');
    let info: RequestInfo | undefined;
    let username = '';
    response.on('close', () => {
      const seconds = Number(process.hrtime.bigint() - started) / 1e9;
      // Names that clients make up would be counted for ever.
      const known = info !== undefined && api.env.table.find(info.group, info.version, info.resource) !== undefined;
      const labels = {
        verb: (info?.verb ?? request.method ?? '').toUpperCase(),
        resource: known ? (info?.resource ?? '') : '',
      };
      total.inc({ ...labels, code: String(response.statusCode) });
      if (info?.verb !== 'watch') duration.observe(seconds, labels);
      logRequest(log, request, response, username, seconds);
    });
    const serve = async (): Promise<void> => {
      const user = authenticate(request, trusted, api.tokens);
      if (user === undefined && !PUBLIC.test(path)) throw unauthorized();
      const exchange: Exchange = { request, response, path, query, user: user ?? ANONYMOUS };
      username = exchange.user.username ?? '';
      info = parseRequest(request.method ?? 'GET', path, query);
      if (info !== undefined && !isDiscovery(path)) {
        if (info.subresource === 'log' && info.resource === 'pods') return serveLog(api, exchange, info);
        return serveResource(api, exchange, info);
      }
      info = undefined;
      if (!serveNonResource(api, exchange)) throw noSuchResource();
    };
    serve().catch((error: unknown) => fail(log, request, response, query, error));
  };
}

function isDiscovery(path: string): boolean {
  return /^\/(api\/[^/]+|apis\/[^/]+\/[^/]+)\/?$/.test(path);
}

async function serveLog(api: Api, exchange: Exchange, info: RequestInfo): Promise<void> {
  const route = streamRoute(api, info, exchange.user, exchange.query);
  if (api.streaming === undefined) throw notImplemented('log');
  await api.streaming.log(exchange.request, exchange.response, route);
}

function fail(
  log: Logger,
  request: IncomingMessage,
  response: ServerResponse,
  query: URLSearchParams,
  error: unknown,
): void {
  const status = statusOf(error);
  if ((status.code ?? 500) >= 500) log.error('a request failed', { method: request.method, url: request.url, error });
  if (response.headersSent) {
    response.destroy();
    return;
  }
  // An unread body would be taken for the next request, and closing at once could lose the answer.
  if (!request.complete) {
    response.setHeader('Connection', 'close');
    request.resume();
  }
  sendStatus(response, status, wantsPretty(request, query));
}

function logRequest(
  log: Logger,
  request: IncomingMessage,
  response: ServerResponse,
  user: string,
  seconds: number,
): void {
  log.debug('request', {
    method: request.method,
    url: request.url,
    code: response.statusCode,
    user,
    agent: request.headers['user-agent'],
    ms: Math.round(seconds * 1e6) / 1000,
  });
}

function splitUrl(url: string): { path: string; query: URLSearchParams } {
  const at = url.indexOf('?');
  return at < 0
    ? { path: url, query: new URLSearchParams() }
    : { path: url.slice(0, at), query: new URLSearchParams(url.slice(at + 1)) };
}

function notImplemented(what: string): StatusError {
  return new StatusError(failure('Unknown', `this API server does not serve ${what}`, undefined, 501));
}

/** The function that node:http calls for `Connection: Upgrade` (exec, attach, port-forward). */
export function upgradeHandler(
  api: Api,
  trusted: boolean,
): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  const total = api.metrics.counter('apiserver_request_total', 'Requests by verb, resource and HTTP code.');
  return (request, socket, head) => {
    socket.on('error', () => socket.destroy());
    api.upgraded.add(socket);
    socket.on('close', () => api.upgraded.delete(socket));
    try {
      const { path, query } = splitUrl(request.url ?? '/');
      const user = authenticate(request, trusted, api.tokens);
      if (user === undefined) throw unauthorized();
      const info = parseRequest(request.method ?? 'GET', path, query);
      if (info === undefined) throw noSuchResource();
      const route = streamRoute(api, info, user, query);
      if (api.streaming === undefined) throw notImplemented(route.kind);
      total.inc({ verb: 'CONNECT', resource: 'pods', code: '101' });
      api.streaming.upgrade(request, socket, head, route);
    } catch (error) {
      const status = statusOf(error);
      const body = JSON.stringify(status);
      total.inc({ verb: 'CONNECT', resource: 'pods', code: String(status.code ?? 500) });
      api.env.log.debug('an upgrade was refused', { url: request.url, error: errorMessage(error) });
      socket.end(
        `HTTP/1.1 ${status.code ?? 500} ${status.reason ?? 'Error'}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
      );
    }
  };
}
