import { createRequire } from 'node:module';
import { formatIp } from '@weft/net';
import { copyReply, replyBytes } from '../wire/index.ts';
import type { PacketContext } from './request.ts';

// recvmmsg(2) and sendmmsg(2) on the descriptor of a dgram socket. Node makes one system call and one event per
// datagram; under load a wake-up here takes 64 in one call and answers them in another. Without FFI, or on a machine
// of another layout, the server runs on dgram alone with the same answers.

type Koffi = typeof import('koffi');
type Fn<A extends unknown[]> = (...args: A) => number;

interface Libc {
  readonly koffi: Koffi;
  readonly socket: Fn<[number, number, number]>;
  readonly bind: Fn<[number, Uint8Array, number]>;
  readonly connect: Fn<[number, Uint8Array, number]>;
  readonly close: Fn<[number]>;
  readonly setsockopt: Fn<[number, number, number, Uint8Array, number]>;
  readonly recvmmsg: Fn<[number, unknown, number, number, null]>;
  readonly sendmmsg: Fn<[number, unknown, number, number]>;
}

const SLOTS = 64;
/** Queries are far smaller than this; what does not fit is cut, and dropped. */
const RECEIVE = 2048;
/** Larger answers are sent by dgram. */
const SEND = 4096;
const HEADER = 64;
const NAME = 28;
/** A burst may hold the event loop for so many calls before others get their turn. */
const ROUNDS = 8;

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM = 2;
const SOCK_FLAGS = 0o2000000 | 0o4000;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;

let loaded: Libc | undefined | false;

function libc(): Libc | undefined {
  if (loaded !== undefined) return loaded === false ? undefined : loaded;
  loaded = false;
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const self = koffi.load(null);
    const f = (name: string, args: string[]): never => self.func(name, 'int', args) as unknown as never;
    loaded = {
      koffi,
      socket: f('socket', ['int', 'int', 'int']),
      bind: f('bind', ['int', 'void *', 'uint']),
      connect: f('connect', ['int', 'void *', 'uint']),
      close: f('close', ['int']),
      setsockopt: f('setsockopt', ['int', 'int', 'int', 'void *', 'uint']),
      recvmmsg: f('recvmmsg', ['int', 'void *', 'uint', 'int', 'void *']),
      sendmmsg: f('sendmmsg', ['int', 'void *', 'uint', 'int']),
    };
    return loaded;
  } catch {
    return undefined;
  }
}

/** Client of a datagram, from its sockaddr; the address is written out only when somebody asks. */
class RawContext implements PacketContext {
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
type Respond = (packet: Uint8Array, context: PacketContext) => number | Promise<Buffer>;
/** Sends what cannot be sent in a batch. */
type SendOne = (bytes: Buffer, port: number, address: string) => void;

/** Memory and calls for taking and answering datagrams in batches; one per process is enough. */
class Batch {
  readonly #libc: Libc;
  readonly #incoming: unknown;
  readonly #outgoing: unknown;
  readonly #receiveHeaders: DataView;
  readonly #sendHeaders: DataView;
  readonly #packets: Buffer;
  readonly #names: Buffer;
  readonly #answers: Buffer;

  constructor(c: Libc) {
    this.#libc = c;
    const { koffi } = c;
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
    this.#incoming = incoming.pointer;
    this.#outgoing = outgoing.pointer;
    this.#receiveHeaders = new DataView(incoming.view);
    this.#sendHeaders = new DataView(outgoing.view);
    this.#packets = Buffer.from(packets.view);
    this.#names = Buffer.from(names.view);
    this.#answers = Buffer.from(answers.view);
    // struct mmsghdr: name, name length, iovec, number of iovecs, control data (none), flags, bytes transferred.
    for (let i = 0; i < SLOTS; i++) {
      for (const [headers, base, data, length] of [
        [this.#receiveHeaders, incoming.base, packets.base, RECEIVE],
        [this.#sendHeaders, outgoing.base, answers.base, SEND],
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

  /** Answers everything that waits on the descriptor now. */
  drain(fd: number, respond: Respond, sendOne: SendOne): void {
    for (let round = 0; round < ROUNDS; round++) {
      const count = this.#libc.recvmmsg(fd, this.#incoming, SLOTS, MSG_DONTWAIT, null);
      if (count <= 0) return;
      this.#answer(fd, count, respond, sendOne);
      if (count < SLOTS) return;
    }
  }

  #answer(fd: number, count: number, respond: Respond, sendOne: SendOne): void {
    const headers = this.#receiveHeaders;
    const out = this.#sendHeaders;
    const names = this.#names;
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
      const answer = respond(this.#packets.subarray(start, start + length), context);
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
      replyBytes.copy(this.#answers, ready * SEND, 0, answer);
      const to = ready * HEADER;
      out.setUint32(to + 8, nameLength, true);
      out.setUint32(SLOTS * HEADER + ready * 16 + 8, answer, true);
      if (ready !== i) names.copyWithin(ready * NAME, from, from + NAME);
      ready += 1;
    }
    if (ready === 0) return;
    const sent = Math.max(0, this.#libc.sendmmsg(fd, this.#outgoing, ready, MSG_DONTWAIT));
    // A full socket buffer: the rest goes the way that waits.
    for (let i = sent; i < ready; i++) {
      const context = new RawContext(names, i * NAME);
      const length = out.getUint32(SLOTS * HEADER + i * 16 + 8, true);
      sendOne(
        Buffer.from(this.#answers.subarray(i * SEND, i * SEND + length)),
        context.remotePort,
        context.remoteAddress,
      );
    }
  }
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
 * may be bound there too (SO_REUSEPORT).
 */
export function openBatchSocket(
  address: Uint8Array,
  port: number,
  receiveBuffer: number,
  share = false,
): BatchSocket | undefined {
  const c = libc();
  if (c === undefined) return undefined;
  const v6 = address.length === 16;
  const fd = c.socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_FLAGS, 0);
  if (fd < 0) return undefined;
  const option = (level: number, name: number, value: number): void => {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value);
    c.setsockopt(fd, level, name, bytes, 4);
  };
  if (v6) option(IPPROTO_IPV6, IPV6_V6ONLY, 1);
  option(SOL_SOCKET, SO_RCVBUF, receiveBuffer);
  if (share) option(SOL_SOCKET, SO_REUSEPORT, 1);
  const name = Buffer.alloc(v6 ? 28 : 16);
  name.writeUInt16LE(v6 ? AF_INET6 : AF_INET, 0);
  name.writeUInt16BE(port, 2);
  name.set(address, v6 ? 8 : 4);
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
