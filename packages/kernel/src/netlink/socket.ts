import { EAGAIN, EINTR, EMSGSIZE, ENOBUFS, EPROTO } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { libc } from '../sys/libc.ts';
import { NetNs } from '../sys/netns.ts';
import * as C from './constants.ts';
import { get32, messages, type NlMessage, NlReader, type NlWriter } from './wire.ts';

/** A refusal of one message, as the kernel stated it. */
export interface NlFailure {
  /** Index of the message in what was sent; -1 when the kernel blames none of them. */
  readonly index: number;
  readonly errno: number;
  readonly extack?: string;
  /** Byte offset, from the start of the message, of the attribute at fault. */
  readonly offset?: number;
}

/** Answer of the kernel to one send. */
export interface NlResult {
  readonly failures: readonly NlFailure[];
}

const RECEIVE_SIZE = 1 << 18;
let shared: Uint8Array | undefined;

/** Receive buffer of this thread: messages are parsed before anything else can run, so one is enough. */
export function receiveBuffer(): Uint8Array {
  shared ??= new Uint8Array(RECEIVE_SIZE);
  return shared;
}

const tick = (ms = 0): Promise<void> =>
  new Promise((resolve) => {
    if (ms === 0) setImmediate(resolve);
    else setTimeout(resolve, ms);
  });

function int(value: number): Uint8Array {
  return new Uint8Array(new Int32Array([value]).buffer);
}

// Operations in a pool thread hold the kernel's locks (rtnl, the nftables commit mutex); a call from the event loop would
// sleep on them, so while one is under way all others go to the pool too. At most two: the pool has four threads.
let slowActive = 0;
const slowWaiting: (() => void)[] = [];

async function slowLane<T>(run: () => Promise<T>): Promise<T> {
  if (slowActive >= 2) await new Promise<void>((resolve) => slowWaiting.push(resolve));
  slowActive++;
  try {
    return await run();
  } finally {
    slowActive--;
    slowWaiting.shift()?.();
  }
}

/**
 * A netlink socket for requests. It belongs to the namespace it was opened in. Requests are handled by the kernel inside
 * send(), so the answer of a fast one is read at once, without a trip through the event loop; `slow` ones are sent from a
 * pool thread. Requests of one socket never overlap: later ones queue.
 */
export class NlSocket {
  readonly fd: number;
  #seq = 1;
  #closed = false;
  #busy = false;
  readonly #queue: (() => void)[] = [];
  #sendBuffer = 0;
  #sendForced = true;

  private constructor(fd: number) {
    this.fd = fd;
  }

  static open(protocol: number, ns?: NetNs): NlSocket {
    const c = libc();
    const make = (): number => {
      const fd = c.socket(C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, protocol);
      if (fd < 0)
        throw new KernelError({ errno: c.errno(), operation: 'open netlink socket', object: `protocol ${protocol}` });
      return fd;
    };
    const socket = new NlSocket(ns === undefined ? make() : ns.run(make));
    const on = int(1);
    // Old kernels lack some of these; everything still works, with poorer error texts.
    c.setsockopt(socket.fd, C.SOL_NETLINK, C.NETLINK_EXT_ACK, on, 4);
    c.setsockopt(socket.fd, C.SOL_NETLINK, C.NETLINK_CAP_ACK, on, 4);
    if (protocol === C.NETLINK_ROUTE) c.setsockopt(socket.fd, C.SOL_NETLINK, C.NETLINK_GET_STRICT_CHK, on, 4);
    setReceiveBuffer(socket.fd, 1 << 21);
    return socket;
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    // A pool thread may still be inside send() on this descriptor.
    if (!this.#busy) libc().close(this.fd);
  }

  /** A new handle of the namespace the socket is in. */
  namespace(): NetNs {
    return NetNs.ofSocket(this.fd);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** True when a message of `bytes` can be sent in one piece (the send buffer is raised for it). */
  canSend(bytes: number): boolean {
    if (bytes + 64 <= this.#sendBuffer) return true;
    const c = libc();
    const want = Math.max(bytes + 4096, 1 << 18);
    const forced = c.setsockopt(this.fd, C.SOL_SOCKET, C.SO_SNDBUFFORCE, int(want), 4) === 0;
    if (!forced) c.setsockopt(this.fd, C.SOL_SOCKET, C.SO_SNDBUF, int(want), 4);
    this.#sendForced = forced;
    const value = int(0);
    c.getsockopt(this.fd, C.SOL_SOCKET, C.SO_SNDBUF, value, int(4));
    this.#sendBuffer = get32(value, 0);
    return bytes + 64 <= this.#sendBuffer;
  }

  /** Largest message an unforced send buffer takes. */
  get sendLimit(): number {
    this.canSend(1 << 22);
    return this.#sendForced ? Number.POSITIVE_INFINITY : this.#sendBuffer - 64;
  }

  /**
   * Sends all messages of the writer in one piece and resolves with the refusals. Asks an acknowledgement for the last
   * message only: refusals of the others arrive all the same. Messages that are neither acks nor errors go to `onMessage`.
   */
  request(
    writer: NlWriter,
    options: { readonly slow?: boolean; readonly ack?: number; readonly onMessage?: (m: NlMessage) => void } = {},
  ): Promise<NlResult> {
    if (this.#closed) return Promise.reject(closedError());
    if (this.#busy || options.slow === true || slowActive > 0) return this.#queued(writer, options);
    try {
      const exchange = this.#prepare(writer, options.ack, options.onMessage);
      this.#send(writer);
      if (this.#drain(exchange)) return Promise.resolve({ failures: exchange.failures });
      this.#busy = true;
      return this.#finish(exchange);
    } catch (error) {
      return Promise.reject(error);
    }
  }

  async #queued(
    writer: NlWriter,
    options: { readonly slow?: boolean; readonly ack?: number; readonly onMessage?: (m: NlMessage) => void },
  ): Promise<NlResult> {
    await this.#lock();
    try {
      const exchange = this.#prepare(writer, options.ack, options.onMessage);
      if (options.slow === true || slowActive > 0) await slowLane(() => this.#sendAsync(writer));
      else this.#send(writer);
      while (!this.#drain(exchange)) await this.#patience(exchange);
      return { failures: exchange.failures };
    } finally {
      this.#unlock();
    }
  }

  async #finish(exchange: Exchange): Promise<NlResult> {
    try {
      while (!this.#drain(exchange)) await this.#patience(exchange);
      return { failures: exchange.failures };
    } finally {
      this.#unlock();
    }
  }

  /**
   * Sends a dump request and gives every answer to `onMessage`. When the kernel says that the list changed underneath, it
   * is read again after `restart()`. Long lists are read in steps of about a millisecond.
   */
  async dump(writer: NlWriter, onMessage: (m: NlMessage) => void, restart: () => void): Promise<NlResult> {
    if (this.#closed) throw closedError();
    await this.#lock();
    try {
      for (let attempt = 0; ; attempt++) {
        const exchange = this.#prepare(writer, undefined, onMessage, true);
        exchange.yields = true;
        this.#send(writer);
        while (!this.#drain(exchange)) {
          if (exchange.paused) {
            exchange.paused = false;
            await tick();
          } else await this.#patience(exchange);
        }
        if (!exchange.interrupted || attempt >= 20) return { failures: exchange.failures };
        restart();
      }
    } finally {
      this.#unlock();
    }
  }

  #lock(): Promise<void> | undefined {
    if (!this.#busy) {
      this.#busy = true;
      return undefined;
    }
    return new Promise((resolve) => this.#queue.push(resolve));
  }

  #unlock(): void {
    const next = this.#queue.shift();
    if (next !== undefined) next();
    else {
      this.#busy = false;
      if (this.#closed) libc().close(this.fd);
    }
  }

  #prepare(
    writer: NlWriter,
    ack: number | undefined,
    onMessage: ((m: NlMessage) => void) | undefined,
    dump = false,
  ): Exchange {
    if (this.#closed) throw closedError();
    const count = writer.starts.length;
    const first = this.#seq;
    this.#seq = first + count > 0x7fffffff ? 1 : first + count;
    for (let i = 0; i < count; i++) writer.setSeq(writer.starts[i] as number, first + i);
    const acked = ack ?? count - 1;
    if (!dump) writer.orFlags(writer.starts[acked] as number, C.NLM_F_ACK);
    return { first, last: first + acked, failures: [], onMessage, waited: 0, count };
  }

  #send(writer: NlWriter): void {
    const c = libc();
    if (writer.pos > 32768 && !this.canSend(writer.pos)) throw tooLarge(writer.pos);
    while (c.send(this.fd, writer.bytes, writer.pos, 0) < 0) {
      const errno = c.errno();
      if (errno !== EINTR) throw sendError(errno);
    }
  }

  async #sendAsync(writer: NlWriter): Promise<void> {
    if (writer.pos > 32768 && !this.canSend(writer.pos)) throw tooLarge(writer.pos);
    const c = libc();
    for (;;) {
      const errno = await new Promise<number>((resolve, reject) => {
        c.send.async(this.fd, writer.bytes, writer.pos, 0, (error, result) => {
          if (error) reject(error as Error);
          else resolve(result < 0 ? c.errno() : 0);
        });
      });
      if (errno === 0) return;
      if (errno !== EINTR) throw sendError(errno);
    }
  }

  /** Answers that have not come with the send: the kernel handed the work to another thread. Rare. */
  async #patience(exchange: Exchange): Promise<void> {
    if (this.#closed) throw closedError();
    exchange.waited += 1;
    if (exchange.waited > 5000)
      throw new KernelError({ errno: EPROTO, operation: 'read netlink answer of', object: 'request' });
    await tick(exchange.waited < 20 ? 0 : 1);
  }

  /** Reads what is there; true when the exchange is complete. */
  #drain(exchange: Exchange): boolean {
    const c = libc();
    const buffer = receiveBuffer();
    const until = exchange.yields === true ? performance.now() + 1 : 0;
    for (;;) {
      const length = c.recv(this.fd, buffer, buffer.length, C.MSG_DONTWAIT | C.MSG_TRUNC);
      if (length < 0) {
        const errno = c.errno();
        if (errno === EINTR) continue;
        // The kernel answers inside send(): when some message was refused and no more answers wait, none will come
        // (a refused nftables batch may answer for its first message only).
        if (errno === EAGAIN) return exchange.failures.length > 0 && exchange.yields !== true;
        throw new KernelError({
          errno,
          operation: 'read netlink answer of',
          object: 'request',
          ...(errno === ENOBUFS ? { hint: 'more errors or answers than the receive buffer holds' } : {}),
        });
      }
      if (length > buffer.length)
        throw new KernelError({ errno: EMSGSIZE, operation: 'read netlink answer of', object: 'request' });
      for (const m of messages(buffer, length)) if (take(exchange, m)) exchange.done = true;
      if (exchange.done === true) return true;
      if (until > 0 && performance.now() > until) {
        exchange.paused = true;
        return false;
      }
    }
  }
}

interface Exchange {
  readonly first: number;
  /** Sequence number whose answer ends the exchange. */
  readonly last: number;
  readonly count: number;
  readonly failures: NlFailure[];
  readonly onMessage: ((m: NlMessage) => void) | undefined;
  waited: number;
  yields?: boolean;
  paused?: boolean;
  interrupted?: boolean;
  done?: boolean;
}

/** True when `m` ends the exchange. */
function take(exchange: Exchange, m: NlMessage): boolean {
  const index = m.seq - exchange.first;
  if (index < 0 || index >= exchange.count) return false;
  if ((m.flags & C.NLM_F_DUMP_INTR) !== 0) exchange.interrupted = true;
  switch (m.type) {
    case C.NLMSG_ERROR:
    case C.NLMSG_DONE: {
      const code = m.end - m.start >= 4 ? get32(m.bytes, m.start) | 0 : 0;
      if (code < 0) exchange.failures.push(failure(m, index, -code));
      return m.seq === exchange.last;
    }
    case C.NLMSG_NOOP:
      return false;
    default:
      exchange.onMessage?.(m);
      return false;
  }
}

function failure(m: NlMessage, index: number, errno: number): NlFailure {
  let text: string | undefined;
  let offset: number | undefined;
  if ((m.flags & C.NLM_F_ACK_TLVS) !== 0) {
    let at = m.start + 4;
    if (m.type === C.NLMSG_ERROR) {
      const original = get32(m.bytes, at);
      at += (m.flags & C.NLM_F_CAPPED) !== 0 ? 16 : (original + 3) & ~3;
    }
    const tlv = new NlReader(m.bytes, at, m.end);
    while (tlv.next()) {
      if (tlv.type === 1) text = tlv.str();
      else if (tlv.type === 2) offset = tlv.u32();
    }
  }
  return {
    index,
    errno,
    ...(text === undefined || text === '' ? {} : { extack: text }),
    ...(offset === undefined ? {} : { offset }),
  };
}

/** Receive buffer size; beyond net.core.rmem_max only with privilege over the machine. */
export function setReceiveBuffer(fd: number, bytes: number): void {
  const c = libc();
  if (c.setsockopt(fd, C.SOL_SOCKET, C.SO_RCVBUFFORCE, int(bytes), 4) !== 0)
    c.setsockopt(fd, C.SOL_SOCKET, C.SO_RCVBUF, int(bytes), 4);
}

function closedError(): KernelError {
  return new KernelError({ errno: 9, operation: 'use closed', object: 'netlink socket' });
}

function sendError(errno: number): KernelError {
  return new KernelError({ errno, operation: 'send netlink', object: 'request' });
}

function tooLarge(bytes: number): KernelError {
  return new KernelError({ errno: EMSGSIZE, operation: 'send netlink', object: `request of ${bytes} bytes` });
}
