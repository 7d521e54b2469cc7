import type { Http2ServerRequest, Http2ServerResponse, ServerHttp2Session } from 'node:http2';
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { decodeMessage, isRejected, type Message, parseQuery } from '../wire/index.ts';
import type { CounterVec } from './metrics.ts';
import { type PacketContext, packetContext } from './request.ts';
import { admitted, type ProtocolFactory, tlsOptions, watchTls, withTls } from './secure.ts';
import { DEFAULTS } from './settings.ts';
import type { Site } from './site.ts';
import { typify } from './typify.ts';

const PATH = '/dns-query';
const MIME = 'application/dns-message';
const MAX_QUERY = 65_536;
const MAX_BASE64 = Math.floor((MAX_QUERY * 8 + 5) / 6);
/** Streams of one HTTP/2 connection at a time. */
const MAX_STREAMS = 128;
/** Megabytes that one HTTP/2 connection may hold. */
const MAX_SESSION_MEMORY = 2;
/** CoreDNS's shortest and longest time that an answer may be kept. */
const SHORT_SECONDS = 5;
const LONG_SECONDS = 3600;

type AnyRequest = IncomingMessage | Http2ServerRequest;
type AnyResponse = ServerResponse | Http2ServerResponse;

/** Closes a connection that asks nothing for too long; bytes that are no query do not help it. */
class Patience {
  #active = 0;
  #timer: NodeJS.Timeout | undefined;
  readonly #idleMs: number;
  readonly #close: () => void;

  constructor(firstMs: number, idleMs: number, close: () => void) {
    this.#idleMs = idleMs;
    this.#close = close;
    this.#timer = this.#arm(firstMs);
  }

  asked(response: AnyResponse): void {
    this.#active += 1;
    clearTimeout(this.#timer);
    response.once('close', () => {
      this.#active -= 1;
      if (this.#active === 0) this.#timer = this.#arm(this.#idleMs);
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #arm(ms: number): NodeJS.Timeout {
    return setTimeout(this.#close, ms).unref();
  }
}

/** DNS over HTTPS (RFC 8484) with HTTP/2 and 1.1; without certificates HTTP/1.1 in the clear, as CoreDNS has it. */
export function dnsOverHttps(responses: CounterVec): ProtocolFactory {
  return async (site, log, name) => {
    const { tls, readMs = DEFAULTS.readMs, idleMs = DEFAULTS.idleMs } = site().settings;
    /** By HTTP/2 session or HTTP/1.1 connection. */
    const patience = new WeakMap<object, Patience>();
    const watch = (connection: Socket | ServerHttp2Session, close: () => void): void => {
      const own = new Patience(readMs, idleMs, close);
      patience.set(connection, own);
      connection.once('close', () => own.stop());
    };
    const listener = (request: AnyRequest, response: AnyResponse): void => {
      const peer = request.socket as TLSSocket;
      const connection = ('stream' in request && request.stream.session) || peer;
      if (tls !== undefined && !admitted(tls, peer)) {
        connection.destroy();
        return;
      }
      patience.get(connection)?.asked(response);
      answer(site(), request, response, (status) => {
        responses.cell(name, String(status)).value += 1;
      }).catch((error: unknown) => {
        log.debug(`${name}: ${(error as Error).message}`);
        peer.destroy();
      });
    };
    if (tls === undefined) {
      const server = createHttp(listener);
      const accept = (connection: Socket): void => {
        watch(connection, () => connection.destroy());
        server.emit('connection', connection);
      };
      return { accept, close: () => {} };
    }
    const { createSecureServer } = await import('node:http2');
    const server = withTls(name, () =>
      createSecureServer(
        {
          ...tlsOptions(tls, readMs),
          allowHTTP1: true,
          settings: { maxConcurrentStreams: MAX_STREAMS, enablePush: false },
          maxSessionMemory: MAX_SESSION_MEMORY,
        },
        listener,
      ),
    );
    watchTls(server, tls, log, name);
    const sessions = new Set<ServerHttp2Session>();
    server.on('session', (session) => {
      sessions.add(session);
      session.on('close', () => sessions.delete(session));
      session.on('error', () => session.destroy());
      watch(session, () => session.destroy());
    });
    server.on('secureConnection', (connection: TLSSocket) => {
      if (connection.alpnProtocol !== 'h2') watch(connection, () => connection.destroy());
    });
    return {
      accept: (connection: Socket) => void server.emit('connection', connection),
      close: () => {
        for (const session of sessions) session.close();
      },
    };
  };
}

async function answer(
  site: Site,
  request: AnyRequest,
  response: AnyResponse,
  count: (status: number) => void,
): Promise<void> {
  const { readMs = DEFAULTS.readMs, writeMs = DEFAULTS.writeMs } = site.settings;
  const peer = request.socket;
  const context = { ...contextOf(peer), headers: request.headers };
  const fail = (status: number, text: string): void => {
    count(status);
    finish(response, peer, writeMs, status, Buffer.from(`${text}\n`), {
      'content-type': 'text/plain; charset=utf-8',
      'x-content-type-options': 'nosniff',
    });
  };
  const [path, search = ''] = (request.url ?? '').split(/\?(.*)/s, 2) as [string, string?];
  if (path !== PATH) return fail(404, '');
  const packet = await packetOf(request, search, readMs);
  if (packet === undefined || isRejected(parseQuery(packet))) return fail(400, 'invalid request');
  const bytes = await site.respond(packet, context);
  if (bytes === undefined || bytes.length === 0) return fail(500, 'No response');
  count(200);
  finish(response, peer, writeMs, 200, bytes, {
    'content-type': MIME,
    'cache-control': `max-age=${secondsToKeep(decodeMessage(bytes))}`,
    'content-length': String(bytes.length),
  });
}

function contextOf(peer: Socket): PacketContext {
  return {
    ...packetContext('tcp', peer.remoteAddress ?? '', peer.remotePort ?? 0),
    local: { address: peer.localAddress ?? '', port: peer.localPort ?? 0 },
  };
}

/** Sends a response; a client that does not take it in time is cut off. */
function finish(
  response: AnyResponse,
  peer: Socket,
  writeMs: number,
  status: number,
  body: Buffer,
  headers: Record<string, string>,
): void {
  const timer = setTimeout(() => peer.destroy(), writeMs).unref();
  response.once('close', () => clearTimeout(timer));
  response.once('finish', () => clearTimeout(timer));
  response.writeHead(status, headers);
  (response as ServerResponse).end(body);
}

/** The query of a request; undefined when it holds none. */
async function packetOf(request: AnyRequest, search: string, readMs: number): Promise<Buffer | undefined> {
  if (request.method === 'GET') {
    const values = new URLSearchParams(search).getAll('dns');
    const [text] = values;
    if (values.length !== 1 || text === undefined || text.length > MAX_BASE64) return undefined;
    // Buffer takes everything; base64url without padding has these letters and never one left over.
    return /^[A-Za-z0-9_-]*$/.test(text) && text.length % 4 !== 1 ? Buffer.from(text, 'base64url') : undefined;
  }
  if (request.method !== 'POST') return undefined;
  return readBody(request, readMs);
}

function readBody(request: AnyRequest, readMs: number): Promise<Buffer | undefined> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const timer = setTimeout(() => reject(new Error('the client sends no query')), readMs).unref();
    const done = (body: Buffer | undefined): void => {
      clearTimeout(timer);
      resolve(body);
    };
    request.on('data', (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_QUERY) {
        request.removeAllListeners('data');
        request.resume();
        done(undefined);
      } else chunks.push(chunk);
    });
    request.on('end', () => done(Buffer.concat(chunks)));
    request.on('error', () => done(undefined));
    request.on('aborted', () => done(undefined));
  });
}

/**
 * Seconds that an answer may be kept: its shortest TTL. Failures, referrals and answers without records have the shortest
 * time (observed in CoreDNS's plugin/pkg/dnsutil/ttl.go).
 */
function secondsToKeep(message: Message): number {
  const records = [...message.answers, ...message.authority, ...message.additional];
  const type = typify(message, message.question?.type ?? 0, (message.flags >> 11) & 15);
  const known = type === 'NOERROR' || type === 'NXDOMAIN' || type === 'NODATA';
  if (!known || records.length === 0) return SHORT_SECONDS;
  return records.reduce((least, { ttl }) => Math.min(least, ttl), LONG_SECONDS);
}
