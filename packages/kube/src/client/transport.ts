import {
  Agent,
  type ClientRequest,
  type IncomingMessage,
  request as httpRequest,
  type RequestOptions,
} from 'node:http';
import type { AgentOptions as TlsAgentOptions } from 'node:https';
import { WeftError } from '@weft/plan';

/** How to reach an API server. */
export type Transport =
  | { readonly kind: 'unix'; readonly path: string }
  | {
      readonly kind: 'http';
      /** Base URL, `http:` or `https:`; a path in it is put in front of every request path. */
      readonly url: string;
      /** PEM. */
      readonly ca?: string | Buffer;
      /** PEM of the client certificate and its key. */
      readonly cert?: string | Buffer;
      readonly key?: string | Buffer;
      /** Bearer token; a function is asked before every request (`fresh` after the server refused the last answer). */
      readonly token?: string | ((fresh: boolean) => string);
      readonly serverName?: string;
      readonly insecureSkipTlsVerify?: boolean;
    };

export interface WireRequest {
  readonly method: string;
  /** Path and query. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds without a byte before the request fails; 0 waits for ever. */
  readonly idleTimeoutMs: number;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** One keep-alive connection pool to one server. Knows HTTP and nothing of Kubernetes. */
export class Wire {
  readonly #agent: Agent;
  readonly #send: (options: RequestOptions) => ClientRequest;
  readonly #base: RequestOptions;
  readonly #prefix: string;
  readonly #token: ((fresh: boolean) => string) | undefined;
  readonly #target: string;

  constructor(transport: Transport) {
    const pool = { keepAlive: true, keepAliveMsecs: 15_000, scheduling: 'lifo' } as const;
    if (transport.kind === 'unix') {
      this.#agent = new Agent(pool);
      this.#send = httpRequest;
      this.#base = { socketPath: transport.path, headers: { Host: 'localhost' } };
      this.#prefix = '';
      this.#target = transport.path;
      return;
    }
    const url = parseUrl(transport.url);
    this.#prefix = url.pathname.replace(/\/+$/, '');
    this.#target = url.origin;
    const { token } = transport;
    this.#token = typeof token === 'string' ? () => token : token;
    this.#base = { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port, headers: { Host: url.host } };
    if (url.protocol === 'http:') {
      this.#agent = new Agent(pool);
      this.#send = httpRequest;
      return;
    }
    // Loading TLS costs milliseconds and megabytes that a process on a Unix socket never needs.
    const https = process.getBuiltinModule('node:https');
    const tls: TlsAgentOptions = { ...pool, rejectUnauthorized: transport.insecureSkipTlsVerify !== true };
    if (transport.ca !== undefined) tls.ca = transport.ca;
    if (transport.cert !== undefined) tls.cert = transport.cert;
    if (transport.key !== undefined) tls.key = transport.key;
    if (transport.serverName !== undefined) tls.servername = transport.serverName;
    this.#agent = new https.Agent(tls);
    this.#send = https.request;
    if (url.port === '') this.#base.port = 443;
  }

  /** Where requests go, for messages. */
  get target(): string {
    return this.#target;
  }

  /**
   * Sends one request and resolves with the response once its header is there. Rejects with WeftError
   * `API_UNREACHABLE` when the server cannot be reached, or with the signal's reason.
   */
  async send(request: WireRequest): Promise<IncomingMessage> {
    let response = await this.#retryStale(request, false);
    if (response.statusCode === 401 && this.#token !== undefined) {
      // A projected token was rotated under us; the file has the new one already.
      response.resume();
      response = await this.#retryStale(request, true);
    }
    return response;
  }

  close(): void {
    this.#agent.destroy();
  }

  /** A server may close an idle connection in the moment we reuse it; a read is then safe to send again. */
  async #retryStale(request: WireRequest, freshToken: boolean): Promise<IncomingMessage> {
    for (;;) {
      const attempt = this.#once(request, freshToken);
      try {
        return await attempt.response;
      } catch (error) {
        request.signal?.throwIfAborted();
        if (attempt.request.reusedSocket && request.method === 'GET' && isReset(error)) continue;
        throw this.#unreachable(request, error);
      }
    }
  }

  #once(wire: WireRequest, freshToken: boolean): { request: ClientRequest; response: Promise<IncomingMessage> } {
    wire.signal?.throwIfAborted();
    const headers: Record<string, string | number> = {
      ...(this.#base.headers as Record<string, string>),
      Accept: 'application/json',
      ...wire.headers,
    };
    if (this.#token !== undefined) headers['Authorization'] = `Bearer ${this.#token(freshToken)}`;
    if (wire.body !== undefined) headers['Content-Length'] = Buffer.byteLength(wire.body);
    const request = this.#send({
      ...this.#base,
      method: wire.method,
      path: this.#prefix + wire.path,
      headers,
      agent: this.#agent,
    });
    const { signal } = wire;
    const abort = (): void => void request.destroy(signal?.reason as Error);
    signal?.addEventListener('abort', abort, { once: true });
    request.once('close', () => signal?.removeEventListener('abort', abort));

    const response = new Promise<IncomingMessage>((resolve, reject) => {
      request.once('response', (message) => {
        request.setTimeout(wire.idleTimeoutMs);
        resolve(message);
      });
      // Stays for the life of the request: an error after the header reaches the reader through the response.
      request.on('error', reject);
    });
    request.setTimeout(wire.idleTimeoutMs === 0 ? CONNECT_TIMEOUT_MS : wire.idleTimeoutMs, () => {
      request.destroy(new Error(`no answer within ${wire.idleTimeoutMs || CONNECT_TIMEOUT_MS} ms`));
    });
    request.end(wire.body);
    return { request, response };
  }

  #unreachable(request: WireRequest, cause: unknown): WeftError {
    const why = cause instanceof Error ? ((cause as NodeJS.ErrnoException).code ?? cause.message) : String(cause);
    return new WeftError({
      code: 'API_UNREACHABLE',
      message: `${request.method} ${request.path.split('?')[0]} at ${this.#target}: ${why}`,
      hint: 'check that the API server runs and that this process may reach it',
      cause,
    });
  }
}

function isReset(error: unknown): boolean {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  return code === 'ECONNRESET' || code === 'EPIPE';
}

function parseUrl(text: string): URL {
  let url: URL | undefined;
  try {
    url = new URL(text);
  } catch {
    // Reported below, together with a wrong scheme.
  }
  if (url === undefined || (url.protocol !== 'http:' && url.protocol !== 'https:')) {
    throw new WeftError({
      code: 'API_URL_INVALID',
      message: `"${text}" is not the URL of an API server`,
      hint: 'give http://HOST:PORT or https://HOST:PORT',
    });
  }
  return url;
}
