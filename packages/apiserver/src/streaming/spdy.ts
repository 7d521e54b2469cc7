import type { Duplex } from 'node:stream';
import { HeaderCodec } from './spdy-headers.ts';

/** Frame types of SPDY/3.1 that matter between kubectl and a server. */
const TYPE = {
  synStream: 1,
  synReply: 2,
  rstStream: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;
const FLAG_FIN = 1;
const VERSION = 3;
const HEADER_BYTES = 8;

/** One stream that the client opened. */
export interface SpdyStream {
  readonly id: number;
  readonly headers: ReadonlyMap<string, string>;
  /** False asks the caller to wait for the connection's `drain`. */
  write(payload: Buffer): boolean;
  /** Half-closes: nothing more comes from here. */
  end(): void;
  reset(): void;
  onData: (payload: Buffer) => void;
  /** The client half-closed. */
  onEnd: () => void;
  /** Reset by the client, or the connection is gone. */
  onClosed: () => void;
}

/**
 * The server's side of a SPDY/3.1 connection (draft-mbelshe-httpbis-spdy-00), as far as kubectl's library uses it:
 * client-opened streams, header compression, no flow control.
 */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #codec = new HeaderCodec();
  readonly #streams = new Map<number, SpdyStream>();
  #rest: Buffer = Buffer.alloc(0);
  #work: Promise<void> = Promise.resolve();
  #closed = false;
  onStream: (stream: SpdyStream) => void = () => {};
  onClosed: () => void = () => {};

  constructor(socket: Duplex, head: Buffer) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#finish());
    socket.on('end', () => socket.end());
    if (head.length > 0) this.#take(head);
  }

  get socket(): Duplex {
    return this.#socket;
  }

  /** Says goodbye and closes once everything is written. */
  end(): void {
    void this.#work.then(() => {
      if (!this.#closed && !this.#socket.writableEnded)
        this.#socket.end(this.#control(TYPE.goAway, 0, Buffer.alloc(8)));
    });
  }

  #finish(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#codec.close();
    for (const stream of this.#streams.values()) stream.onClosed();
    this.#streams.clear();
    this.onClosed();
  }

  #control(type: number, flags: number, payload: Buffer): Buffer {
    const head = Buffer.alloc(HEADER_BYTES);
    head.writeUInt16BE(0x8000 | VERSION, 0);
    head.writeUInt16BE(type, 2);
    head.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
    return Buffer.concat([head, payload]);
  }

  #data(id: number, flags: number, payload: Buffer): boolean {
    if (this.#closed || this.#socket.writableEnded) return true;
    const head = Buffer.alloc(HEADER_BYTES);
    head.writeUInt32BE(id, 0);
    head.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
    this.#socket.write(head);
    return this.#socket.write(payload);
  }

  #take(chunk: Buffer): void {
    let data = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (data.length >= HEADER_BYTES) {
      const length = data.readUInt32BE(4) & 0xff_ffff;
      if (data.length < HEADER_BYTES + length) break;
      const head = data.subarray(0, HEADER_BYTES);
      const payload = data.subarray(HEADER_BYTES, HEADER_BYTES + length);
      data = data.subarray(HEADER_BYTES + length);
      // Headers are decompressed asynchronously; data behind them must not overtake.
      this.#work = this.#work.then(() => this.#frame(head, payload)).catch(() => void this.#socket.destroy());
    }
    this.#rest = data;
  }

  async #frame(head: Buffer, payload: Buffer): Promise<void> {
    const flags = head.readUInt8(4);
    if ((head.readUInt8(0) & 0x80) === 0) {
      const stream = this.#streams.get(head.readUInt32BE(0));
      if (stream === undefined) return;
      if (payload.length > 0) stream.onData(payload);
      if ((flags & FLAG_FIN) !== 0) stream.onEnd();
      return;
    }
    switch (head.readUInt16BE(2)) {
      case TYPE.synStream:
        await this.#open(payload, flags);
        break;
      case TYPE.headers:
        // Kept for the compression context only.
        await this.#codec.decode(payload.subarray(4));
        break;
      case TYPE.rstStream: {
        const id = payload.readUInt32BE(0) & 0x7fff_ffff;
        this.#streams.get(id)?.onClosed();
        this.#streams.delete(id);
        break;
      }
      case TYPE.ping:
        // Odd numbers are the client's and want an echo.
        if ((payload.readUInt32BE(0) & 1) === 1) this.#socket.write(this.#control(TYPE.ping, 0, payload));
        break;
      default:
        break;
    }
  }

  async #open(payload: Buffer, flags: number): Promise<void> {
    const id = payload.readUInt32BE(0) & 0x7fff_ffff;
    const headers = await this.#codec.decode(payload.subarray(10));
    const reset = (): void => {
      const body = Buffer.alloc(8);
      body.writeUInt32BE(id, 0);
      // CANCEL.
      body.writeUInt32BE(5, 4);
      if (!this.#closed) this.#socket.write(this.#control(TYPE.rstStream, 0, body));
      this.#streams.delete(id);
    };
    let ended = false;
    const stream: SpdyStream = {
      id,
      headers,
      write: (data) => (ended ? true : this.#data(id, 0, data)),
      end: () => {
        if (ended) return;
        ended = true;
        this.#data(id, FLAG_FIN, Buffer.alloc(0));
      },
      reset,
      onData: () => {},
      onEnd: () => {},
      onClosed: () => {},
    };
    this.#streams.set(id, stream);
    const replyHead = Buffer.alloc(4);
    replyHead.writeUInt32BE(id);
    const block = await this.#codec.encode(new Map());
    if (this.#closed) return;
    this.#socket.write(this.#control(TYPE.synReply, 0, Buffer.concat([replyHead, block])));
    this.onStream(stream);
    if ((flags & FLAG_FIN) !== 0) stream.onEnd();
  }
}
