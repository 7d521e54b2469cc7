import { BatchMemory, HEADER, MSG_DONTWAIT, MSG_TRUNC, NAME, RECEIVE, SEND, SLOTS } from '../server/batch.ts';
import type { Libc } from '../server/libc.ts';
import type { WorkerSocket } from './orders.ts';
import { DROP, MISS, Reader } from './reader.ts';
import { Ring } from './ring.ts';

const MSG_WAITFORONE = 0x10000;
const POLLIN = 1;
/** Bytes of a struct pollfd. */
const POLLED = 8;

interface Open {
  readonly socket: WorkerSocket;
  readonly reader: Reader;
}

/** Takes packets from sockets and answers them from their tables; what the tables do not know goes to a ring. */
export class UdpAnswerer {
  readonly #libc: Libc;
  readonly #memory: BatchMemory;
  readonly #ring: Ring;
  readonly #counts: SharedArrayBuffer;
  readonly #wake: () => void;
  #open: Open[] = [];
  #polled: Buffer = Buffer.alloc(0);

  /** `wake`: wakes who reads the ring. */
  constructor(libc: Libc, ring: SharedArrayBuffer, counts: SharedArrayBuffer, wake: () => void) {
    this.#libc = libc;
    this.#memory = new BatchMemory(libc);
    this.#ring = new Ring(ring);
    this.#counts = counts;
    this.#wake = wake;
  }

  get sockets(): number {
    return this.#open.length;
  }

  /** Reads these sockets from now on, and no others. */
  read(sockets: readonly WorkerSocket[]): void {
    const before = new Map(this.#open.map((open) => [open.socket.id, open]));
    this.#open = sockets.map(
      (socket) => before.get(socket.id) ?? { socket, reader: new Reader(socket.table, this.#counts) },
    );
    this.#polled = Buffer.alloc(this.#open.length * POLLED);
    this.#open.forEach(({ socket }, i) => {
      this.#polled.writeInt32LE(socket.fd, i * POLLED);
      this.#polled.writeInt16LE(POLLIN, i * POLLED + 4);
    });
  }

  /** Waits for packets, for at most `ms`, and answers what has come. */
  wait(ms: number): void {
    const [only, second] = this.#open;
    if (only === undefined) return;
    // One socket is waited for with the call that takes its packets; the socket's own time limit ends it.
    if (second === undefined) {
      this.#take(only, MSG_WAITFORONE);
      return;
    }
    if (this.#libc.poll(this.#polled, this.#open.length, ms) <= 0) return;
    for (let i = 0; i < this.#open.length; i++) {
      if (this.#polled.readInt16LE(i * POLLED + 6) !== 0) this.#take(this.#open[i] as Open, MSG_DONTWAIT);
    }
  }

  #take({ socket, reader }: Open, flags: number): void {
    const { incoming, receiveHeaders: headers, sendHeaders: out, names, packets, answers } = this.#memory;
    const count = this.#libc.recvmmsg(socket.fd, incoming, SLOTS, flags, null);
    if (count <= 0) return;
    const started = performance.now();
    const now = Date.now();
    let ready = 0;
    let handed = 0;
    for (let i = 0; i < count; i++) {
      const at = i * HEADER;
      const from = i * NAME;
      const length = headers.getUint32(at + 56, true);
      const truncated = (headers.getUint32(at + 48, true) & MSG_TRUNC) !== 0;
      const nameLength = headers.getUint32(at + 8, true);
      headers.setUint32(at + 8, NAME, true);
      // Port 0 is no place to send to.
      if (truncated || (names[from + 2] === 0 && names[from + 3] === 0)) continue;
      const size = answer(reader, packets, i * RECEIVE, length, answers, ready * SEND, socket.ipv6, now);
      if (size === DROP) continue;
      if (size === MISS) {
        if (this.#ring.push(socket.id, packets, i * RECEIVE, length, names, from, nameLength)) handed += 1;
        else this.#ring.drop();
        continue;
      }
      // Answers are gathered at the front; the name stays where the query's sender was written.
      const to = ready * HEADER;
      out.setUint32(to + 8, nameLength, true);
      out.setUint32(SLOTS * HEADER + ready * 16 + 8, size, true);
      if (ready !== i) names.copyWithin(ready * NAME, from, from + NAME);
      ready += 1;
    }
    if (handed > 0 && this.#ring.mustWake()) this.#wake();
    if (ready === 0) return;
    this.#send(socket.fd, ready);
    reader.took((performance.now() - started) / 1000);
  }

  #send(fd: number, ready: number): void {
    const { outgoing, sendHeaders, answers, names } = this.#memory;
    const sent = this.#libc.sendmmsg(fd, outgoing, ready, 0);
    // A client that cannot be sent to ends the batch: the others get theirs one by one.
    for (let i = Math.max(0, sent); i < ready; i++) {
      const size = sendHeaders.getUint32(SLOTS * HEADER + i * 16 + 8, true);
      const nameLength = sendHeaders.getUint32(i * HEADER + 8, true);
      const name = names.subarray(i * NAME, i * NAME + nameLength);
      this.#libc.sendto(fd, answers.subarray(i * SEND, i * SEND + size), size, 0, name, nameLength);
    }
  }
}

/** A packet that a reader stumbles over is the chain's, which catches its errors. */
function answer(
  reader: Reader,
  packets: Uint8Array,
  start: number,
  length: number,
  answers: Uint8Array,
  to: number,
  ipv6: boolean,
  now: number,
): number {
  try {
    return reader.respond(packets, start, length, answers, to, ipv6, now);
  } catch {
    return MISS;
  }
}
