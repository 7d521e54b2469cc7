import type { ClientHttp2Session } from 'node:http2';
import { decodeMessage, type Message } from '../wire/index.ts';
import { type Channel, ClosedConnection, type Target } from './channel.ts';

/** Longest answer that is read, bytes: what a TCP answer can have. */
const MAX_ANSWER = 65_535;

/** One HTTP/2 connection to an upstream that carries many queries at once (RFC 8484). */
export class DohChannel implements Channel {
  readonly opened = performance.now();
  readonly #target: Target;
  readonly #what: string;
  readonly #session: Promise<ClientHttp2Session>;
  #open: ClientHttp2Session | undefined;
  #answered = 0;
  inFlight = 0;
  closed = false;
  lastUsed = performance.now();

  constructor(target: Target) {
    this.#target = target;
    const host = target.host.includes(':') ? `[${target.host}]` : target.host;
    this.#what = `https ${host}:${target.port}`;
    this.#session = this.#connect(`https://${host}:${target.port}`);
    // Who asks learns of it.
    this.#session.catch(() => {});
  }

  async #connect(authority: string): Promise<ClientHttp2Session> {
    // HTTP/2 costs memory that most servers never need.
    const { connect } = await import('node:http2');
    if (this.closed) throw new ClosedConnection();
    const session = connect(authority, this.#target.tls ?? {});
    this.#open = session;
    session.unref();
    await new Promise<void>((resolve, reject) => {
      session.once('connect', () => resolve());
      session.once('error', (error) => reject(new Error(`${this.#what}: ${error.message}`)));
      session.once('close', () => reject(new Error(`${this.#what}: connection closed`)));
    }).catch((error: unknown) => {
      this.#end();
      throw error;
    });
    session.on('error', () => this.#end());
    session.on('close', () => this.#end());
    session.on('goaway', () => {
      this.closed = true;
    });
    return session;
  }

  async exchange(query: Uint8Array, timeoutMs: number): Promise<Message> {
    this.lastUsed = performance.now();
    if (this.closed) throw new ClosedConnection();
    this.inFlight += 1;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`read ${this.#what}: i/o timeout`)), timeoutMs);
    });
    const abort = new AbortController();
    try {
      return await Promise.race([this.#session.then((session) => this.#ask(session, query, abort.signal)), late]);
    } finally {
      clearTimeout(timer);
      abort.abort();
      this.inFlight -= 1;
    }
  }

  #ask(session: ClientHttp2Session, query: Uint8Array, signal: AbortSignal): Promise<Message> {
    const { method = 'POST', path = '/dns-query' } = this.#target.doh ?? {};
    const bytes = Buffer.from(query);
    // RFC 8484 section 4.1: an id of 0 lets HTTP caches do their work.
    bytes.writeUInt16BE(0, 0);
    const stream = session.request(
      method === 'GET'
        ? { ':method': 'GET', ':path': `${path}?dns=${bytes.toString('base64url')}`, accept: 'application/dns-message' }
        : {
            ':method': 'POST',
            ':path': path,
            accept: 'application/dns-message',
            'content-type': 'application/dns-message',
            'content-length': bytes.length,
          },
      { signal, endStream: method === 'GET' },
    );
    return new Promise((resolve, reject) => {
      let status = 0;
      let size = 0;
      const chunks: Buffer[] = [];
      stream.on('response', (headers) => {
        status = headers[':status'] ?? 0;
      });
      stream.on('data', (chunk: Buffer) => {
        size += chunk.length;
        chunks.push(chunk);
        if (size > MAX_ANSWER) stream.destroy(new Error('answer without end'));
      });
      stream.on('error', (error) => reject(this.#failed(error)));
      stream.on('close', () => reject(this.#failed(new Error('connection closed'))));
      stream.on('end', () => {
        if (status !== 200) {
          reject(new Error(`${this.#what}: HTTP status ${status}`));
          return;
        }
        try {
          resolve(decodeMessage(Buffer.concat(chunks)));
          this.#answered += 1;
        } catch (error) {
          reject(new Error(`malformed answer: ${(error as Error).message}`));
        }
      });
      if (method === 'POST') stream.end(bytes);
    });
  }

  /** A connection that idled is closed by many servers: worth one try on a new one. */
  #failed(error: Error): Error {
    const gone = this.closed || this.#open?.destroyed === true || this.#open?.closed === true;
    return gone && this.#answered > 0 ? new ClosedConnection() : new Error(`${this.#what}: ${error.message}`);
  }

  #end(): void {
    this.closed = true;
    this.#open?.destroy();
  }

  close(): void {
    this.#end();
  }
}
