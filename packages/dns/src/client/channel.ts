import { randomFillSync } from 'node:crypto';
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { connect as tcpConnect, type Socket } from 'node:net';
import type { ConnectionOptions } from 'node:tls';
import { decodeMessage, type Message } from '../wire/index.ts';

/** The other side closed a connection that had been used before: worth one try on a new one. */
export class ClosedConnection extends Error {
  constructor() {
    super('connection closed by the upstream');
    this.name = 'ClosedConnection';
  }
}

/** Where an upstream is. */
export interface Target {
  readonly host: string;
  readonly port: number;
  /** Present for DNS over TLS (RFC 7858) and over HTTPS. */
  readonly tls?: ConnectionOptions;
  /** Present for DNS over HTTPS (RFC 8484). */
  readonly doh?: { readonly method: 'GET' | 'POST'; readonly path?: string };
}

const ids = new Uint16Array(512);
let idsLeft = 0;

/** An unpredictable message id. */
function randomId(): number {
  if (idsLeft === 0) {
    randomFillSync(ids);
    idsLeft = ids.length;
  }
  idsLeft -= 1;
  return ids[idsLeft] as number;
}

interface Waiting {
  readonly resolve: (message: Message) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/** Queries in flight on one socket, by message id. */
class InFlight {
  readonly #waiting = new Map<number, Waiting>();

  get size(): number {
    return this.#waiting.size;
  }

  /** Registers a query under a free id, which is written into its first two bytes. */
  add(bytes: Uint8Array, timeoutMs: number, what: string): Promise<Message> {
    return new Promise((resolve, reject) => {
      let id = randomId();
      while (this.#waiting.has(id)) id = randomId();
      bytes[0] = id >> 8;
      bytes[1] = id & 0xff;
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new Error(`read ${what}: i/o timeout`));
      }, timeoutMs);
      this.#waiting.set(id, { resolve, reject, timer });
    });
  }

  /** Hands a packet to the query it answers. Packets that answer none are dropped. */
  receive(packet: Uint8Array): void {
    if (packet.length < 12 || ((packet[2] as number) & 0x80) === 0) return;
    const id = ((packet[0] as number) << 8) | (packet[1] as number);
    const waiting = this.#waiting.get(id);
    if (waiting === undefined) return;
    let message: Message;
    try {
      message = decodeMessage(packet);
    } catch (error) {
      this.#take(id)?.reject(new Error(`malformed answer: ${(error as Error).message}`));
      return;
    }
    this.#take(id)?.resolve(message);
  }

  fail(error: Error): void {
    for (const id of this.#waiting.keys()) this.#take(id)?.reject(error);
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    clearTimeout(waiting?.timer);
    return waiting;
  }
}

/** A socket to an upstream that carries many queries at once. */
export interface Channel {
  /** Sends a query; its id is chosen here. Rejects on timeout and on errors of the socket. */
  exchange(query: Uint8Array, timeoutMs: number): Promise<Message>;
  readonly inFlight: number;
  readonly closed: boolean;
  readonly lastUsed: number;
  readonly opened: number;
  close(): void;
}

/** A connected UDP socket: the kernel drops what others send to it and reports refused ports. */
export class UdpChannel implements Channel {
  readonly #flight = new InFlight();
  readonly #socket: UdpSocket;
  readonly #what: string;
  readonly opened = performance.now();
  #connected = false;
  #queue: Uint8Array[] = [];
  closed = false;
  lastUsed = performance.now();

  constructor(target: Target) {
    const family = target.host.includes(':') ? 6 : 4;
    this.#what = `udp ${target.host}:${target.port}`;
    this.#socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      // The host is an address: no resolver, no detour over the event loop.
      lookup: (host, _options, callback) => callback(null, host, family),
    });
    this.#socket.on('message', (packet) => this.#flight.receive(packet));
    this.#socket.on('error', (error) => this.#fail(new Error(`${this.#what}: ${error.message}`)));
    this.#socket.once('connect', () => {
      this.#connected = true;
      for (const bytes of this.#queue.splice(0)) this.#send(bytes);
    });
    // Without a callback, which would be called for failures too: no route to the upstream is one.
    this.#socket.connect(target.port, target.host);
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  exchange(query: Uint8Array, timeoutMs: number): Promise<Message> {
    this.lastUsed = performance.now();
    const bytes = Uint8Array.from(query);
    const answer = this.#flight.add(bytes, timeoutMs, this.#what);
    if (this.#connected) this.#send(bytes);
    else this.#queue.push(bytes);
    return answer;
  }

  close(): void {
    this.#fail(new Error(`${this.#what}: closed`));
  }

  #send(bytes: Uint8Array): void {
    if (this.closed) return;
    this.#socket.send(bytes, (error) => {
      if (error) this.#fail(new Error(`${this.#what}: ${error.message}`));
    });
  }

  #fail(error: Error): void {
    if (!this.closed) {
      this.closed = true;
      this.#socket.close();
    }
    this.#flight.fail(error);
  }
}

const MAX_BUFFERED = 4 * 1024 * 1024;

/** A TCP or TLS connection with pipelined queries (RFC 7766). */
export class StreamChannel implements Channel {
  readonly #flight = new InFlight();
  readonly #what: string;
  #socket: Socket | undefined;
  #queue: Uint8Array[] = [];
  #buffer: Buffer = Buffer.alloc(0);
  #answered = 0;
  readonly opened = performance.now();
  closed = false;
  lastUsed = performance.now();

  constructor(target: Target) {
    this.#what = `${target.tls === undefined ? 'tcp' : 'tls'} ${target.host}:${target.port}`;
    if (target.tls === undefined) this.#attach(tcpConnect({ host: target.host, port: target.port }), 'connect');
    else {
      const options = { host: target.host, port: target.port, ...target.tls };
      // TLS costs memory that most servers never need.
      import('node:tls').then(
        (tls) => {
          if (!this.closed) this.#attach(tls.connect(options), 'secureConnect');
        },
        (error: Error) => this.#fail(error),
      );
    }
  }

  get inFlight(): number {
    return this.#flight.size;
  }

  exchange(query: Uint8Array, timeoutMs: number): Promise<Message> {
    this.lastUsed = performance.now();
    if (this.closed) return Promise.reject(new ClosedConnection());
    const frame = Buffer.allocUnsafe(query.length + 2);
    frame.writeUInt16BE(query.length, 0);
    frame.set(query, 2);
    const answer = this.#flight.add(frame.subarray(2), timeoutMs, this.#what);
    if (this.#socket !== undefined && this.#queue.length === 0 && !this.#socket.connecting) this.#socket.write(frame);
    else this.#queue.push(frame);
    return answer;
  }

  close(): void {
    this.#fail(new Error(`${this.#what}: closed`));
  }

  #attach(socket: Socket, ready: string): void {
    this.#socket = socket;
    socket.setNoDelay(true);
    socket.once(ready, () => {
      for (const frame of this.#queue.splice(0)) socket.write(frame);
    });
    socket.on('data', (chunk: Buffer) => this.#receive(chunk));
    socket.on('error', (error) => this.#fail(new Error(`${this.#what}: ${error.message}`)));
    socket.on('close', () =>
      this.#fail(this.#answered > 0 ? new ClosedConnection() : new Error(`${this.#what}: connection closed`)),
    );
  }

  #receive(chunk: Buffer): void {
    this.#buffer = this.#buffer.length === 0 ? chunk : Buffer.concat([this.#buffer, chunk]);
    if (this.#buffer.length > MAX_BUFFERED) {
      this.#fail(new Error(`${this.#what}: answers without end`));
      return;
    }
    let at = 0;
    while (this.#buffer.length - at >= 2) {
      const length = this.#buffer.readUInt16BE(at);
      if (this.#buffer.length - at - 2 < length) break;
      this.#answered += 1;
      this.#flight.receive(this.#buffer.subarray(at + 2, at + 2 + length));
      at += 2 + length;
    }
    this.#buffer = this.#buffer.subarray(at);
  }

  #fail(error: Error): void {
    this.closed = true;
    this.#socket?.destroy();
    this.#flight.fail(error);
  }
}
