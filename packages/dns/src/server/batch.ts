import { formatIp } from '@weft/net';
import { copyReply, replyBytes } from '../wire/index.ts';
import { type Libc, libc } from './libc.ts';
import type { PacketContext } from './request.ts';

// recvmmsg(2) and sendmmsg(2) on the descriptor of a dgram socket. Node makes one system call and one event per
// datagram; under load a wake-up here takes 64 in one call and answers them in another. Without FFI, or on a machine
// of another layout, the server runs on dgram alone with the same answers.

/** Datagrams per call. */
export const SLOTS = 64;
/** Queries are far smaller than this; what does not fit is cut, and dropped. */
export const RECEIVE = 2048;
/** Larger answers are sent by dgram. */
export const SEND = 4096;
/** Bytes of a message's header, and of a socket address. */
export const HEADER = 64;
export const NAME = 28;
/** A burst may hold the event loop for so many calls before others get their turn. */
const ROUNDS = 8;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_SNDTIMEO = 21;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
export const MSG_DONTWAIT = 0x40;
export const MSG_TRUNC = 0x20;

/** Client of a datagram, from its sockaddr; the address is written out only when somebody asks. */
export class RawContext implements PacketContext {
  readonly proto = 'udp';
  readonly remotePort: number;
  readonly family: 4 | 6;
  /** The slot is reused by the next datagram: four bytes are kept as a number, sixteen as a copy. */
  readonly #v4: number;
  readonly #v6: Uint8Array | undefined;

  constructor(names: Buffer, at: number) {
    this.remotePort = ((names[at + 2] as number) << 8) | (names[at + 3] as number);
    this.family = names[at] === AF_INET ? 4 : 6;
    this.#v4 = this.family === 4 ? names.readInt32BE(at + 4) : 0;
    this.#v6 = this.family === 4 ? undefined : new Uint8Array(names.subarray(at + 8, at + 24));
  }

  get remoteAddress(): string {
    const v4 = this.#v4;
    return this.#v6 === undefined
      ? `${v4 >>> 24}.${(v4 >> 16) & 255}.${(v4 >> 8) & 255}.${v4 & 255}`
      : formatIp(this.#v6);
  }
}

/** As `Site.respondInPlace`. */
export type Respond = (packet: Uint8Array, context: PacketContext) => number | Promise<Buffer>;
/** Sends what cannot be sent in a batch. */
type SendOne = (bytes: Buffer, port: number, address: string) => void;

/** Memory for taking and answering datagrams in batches: headers, addresses, packets and answers. */
export class BatchMemory {
  readonly incoming: unknown;
  readonly outgoing: unknown;
  readonly receiveHeaders: DataView;
  readonly sendHeaders: DataView;
  readonly packets: Buffer;
  readonly names: Buffer;
  readonly answers: Buffer;

  constructor({ koffi }: Libc) {
    const size = SLOTS * (HEADER + 16);
    const memory = (bytes: number): { pointer: unknown; base: bigint; view: ArrayBuffer } => {
      const pointer: unknown = koffi.alloc('uint8_t', bytes);
      return {
        pointer,
        base: koffi.address(pointer) as bigint,
        view: koffi.view(pointer as never, bytes) as ArrayBuffer,
      };
    };
    const incoming = memory(size);
    const outgoing = memory(size);
    const packets = memory(SLOTS * RECEIVE);
    const names = memory(SLOTS * NAME);
    const answers = memory(SLOTS * SEND);
    this.incoming = incoming.pointer;
    this.outgoing = outgoing.pointer;
    this.receiveHeaders = new DataView(incoming.view);
    this.sendHeaders = new DataView(outgoing.view);
    this.packets = Buffer.from(packets.view);
    this.names = Buffer.from(names.view);
    this.answers = Buffer.from(answers.view);
    // struct mmsghdr: name, name length, iovec, number of iovecs, control data (none), flags, bytes transferred.
    for (let i = 0; i < SLOTS; i++) {
      for (const [headers, base, data, length] of [
        [this.receiveHeaders, incoming.base, packets.base, RECEIVE],
        [this.sendHeaders, outgoing.base, answers.base, SEND],
      ] as const) {
        const at = i * HEADER;
        const vector = SLOTS * HEADER + i * 16;
        headers.setBigUint64(at, names.base + BigInt(i * NAME), true);
        headers.setUint32(at + 8, NAME, true);
        headers.setBigUint64(at + 16, base + BigInt(vector), true);
        headers.setBigUint64(at + 24, 1n, true);
        headers.setBigUint64(vector, data + BigInt(i * length), true);
        headers.setUint32(vector + 8, length, true);
      }
    }
  }
}

/** Calls for taking and answering datagrams in batches; one per process is enough. */
class Batch extends BatchMemory {
  readonly #libc: Libc;

  constructor(c: Libc) {
    super(c);
    this.#libc = c;
  }

  /** Answers everything that waits on the descriptor now. */
  drain(fd: number, respond: Respond, sendOne: SendOne): void {
    for (let round = 0; round < ROUNDS; round++) {
      const count = this.#libc.recvmmsg(fd, this.incoming, SLOTS, MSG_DONTWAIT, null);
      if (count <= 0) return;
      this.#answer(fd, count, respond, sendOne);
      if (count < SLOTS) return;
    }
  }

  #answer(fd: number, count: number, respond: Respond, sendOne: SendOne): void {
    const headers = this.receiveHeaders;
    const out = this.sendHeaders;
    const names = this.names;
    let ready = 0;
    for (let i = 0; i < count; i++) {
      const at = i * HEADER;
      const from = i * NAME;
      const length = headers.getUint32(at + 56, true);
      const truncated = (headers.getUint32(at + 48, true) & MSG_TRUNC) !== 0;
      const nameLength = headers.getUint32(at + 8, true);
      headers.setUint32(at + 8, NAME, true);
      const port = ((names[from + 2] as number) << 8) | (names[from + 3] as number);
      if (truncated || port === 0) continue;
      const context = new RawContext(names, from);
      const start = i * RECEIVE;
      const answer = respond(this.packets.subarray(start, start + length), context);
      if (answer === 0) continue;
      if (typeof answer !== 'number') {
        void answer.then((bytes) => sendOne(bytes, port, context.remoteAddress));
        continue;
      }
      if (answer > SEND) {
        sendOne(copyReply(answer), port, context.remoteAddress);
        continue;
      }
      // Answers are gathered at the front; the name stays where the query's sender was written.
      replyBytes.copy(this.answers, ready * SEND, 0, answer);
      const to = ready * HEADER;
      out.setUint32(to + 8, nameLength, true);
      out.setUint32(SLOTS * HEADER + ready * 16 + 8, answer, true);
      if (ready !== i) names.copyWithin(ready * NAME, from, from + NAME);
      ready += 1;
    }
    if (ready === 0) return;
    const sent = Math.max(0, this.#libc.sendmmsg(fd, this.outgoing, ready, MSG_DONTWAIT));
    // A full socket buffer: the rest goes the way that waits.
    for (let i = sent; i < ready; i++) {
      const context = new RawContext(names, i * NAME);
      const length = out.getUint32(SLOTS * HEADER + i * 16 + 8, true);
      sendOne(
        Buffer.from(this.answers.subarray(i * SEND, i * SEND + length)),
        context.remotePort,
        context.remoteAddress,
      );
    }
  }
}

/** An address as the system takes it. */
export function socketName(address: Uint8Array, port: number): Buffer {
  const v6 = address.length === 16;
  const name = Buffer.alloc(v6 ? 28 : 16);
  name.writeUInt16LE(v6 ? AF_INET6 : AF_INET, 0);
  name.writeUInt16BE(port, 2);
  name.set(address, v6 ? 8 : 4);
  return name;
}

let batch: Batch | undefined;

/** A bound UDP descriptor that can be drained in batches. */
export interface BatchSocket {
  readonly fd: number;
  drain(respond: Respond, sendOne: SendOne): void;
  /**
   * Takes the socket out of those that share its address: new packets go to the others, what has arrived stays to be
   * read, and answers can still be sent.
   */
  leave(): void;
}

/**
 * Opens a UDP socket for batches; hand its descriptor to a dgram socket, which then owns it. Undefined where that is
 * not possible or the address cannot be bound: dgram then tries by itself and reports why. `share`: others of the same user
 * may be bound there too (SO_REUSEPORT). `waitMs`: calls on it wait for so long, unless told otherwise.
 */
export function openBatchSocket(
  address: Uint8Array,
  port: number,
  receiveBuffer: number,
  share = false,
  waitMs = 0,
): BatchSocket | undefined {
  const c = libc();
  if (c === undefined) return undefined;
  const v6 = address.length === 16;
  const fd = c.socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | (waitMs > 0 ? 0 : SOCK_NONBLOCK), 0);
  if (fd < 0) return undefined;
  const option = (level: number, name: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    c.setsockopt(fd, level, name, bytes, 4);
  };
  if (v6) option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  option(SOL_SOCKET, SO_RCVBUF, receiveBuffer);
  if (share) option(SOL_SOCKET, SO_REUSEPORT, 1);
  if (waitMs > 0) {
    const time = Buffer.alloc(16);
    time.writeBigInt64LE(BigInt(waitMs) * 1000n, 8);
    for (const limit of [SO_RCVTIMEO, SO_SNDTIMEO]) c.setsockopt(fd, SOL_SOCKET, limit, time, 16);
  }
  const name = socketName(address, port);
  if (c.bind(fd, name, name.length) !== 0) {
    c.close(fd);
    return undefined;
  }
  batch ??= new Batch(c);
  const shared = batch;
  return {
    fd,
    drain: (respond, sendOne) => shared.drain(fd, respond, sendOne),
    leave: () => {
      // A socket that is connected hears only its peer: here itself, at the port that nobody sends from.
      const nobody = Buffer.from(name);
      nobody.writeUInt16BE(9, 2);
      if (nobody.subarray(v6 ? 8 : 4, v6 ? 24 : 8).every((byte) => byte === 0)) nobody[v6 ? 23 : 4] = v6 ? 1 : 127;
      c.connect(fd, nobody, nobody.length);
    },
  };
}
