/** Words before the slots. */
const WORD = { written: 0, read: 1, asleep: 2, dropped: 3, words: 4 } as const;
const SLOTS = 1024;
/** Words of a slot before its bytes: packet's length, address's length, socket. */
const HEAD = 4;
const ADDRESS = 28;
const PACKET = 2048;
const SLOT = HEAD * 4 + 32 + PACKET;

/** Memory of a ring; the system gives pages only to what is used. */
export function createRing(): SharedArrayBuffer {
  return new SharedArrayBuffer(WORD.words * 4 + SLOTS * SLOT);
}

/** A packet on its way from a worker to the chain. */
export interface RingPacket {
  /** Number of the socket that it came by. */
  readonly socket: number;
  /** The client as the system names it. */
  readonly address: Buffer;
  readonly packet: Buffer;
}

/** Packets that one thread hands to another. Full rings drop: the clients ask again. */
export class Ring {
  readonly #words: Int32Array;
  readonly #bytes: Buffer;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory);
    this.#bytes = Buffer.from(memory);
  }

  /** Packets that found the ring full. */
  get dropped(): number {
    return Atomics.load(this.#words, WORD.dropped);
  }

  /** Writes a packet; false when the ring is full. For the one thread that writes. */
  push(
    socket: number,
    packets: Uint8Array,
    start: number,
    length: number,
    names: Uint8Array,
    name: number,
    nameLength: number,
  ): boolean {
    const words = this.#words;
    const written = words[WORD.written] as number;
    if (((written - Atomics.load(words, WORD.read)) | 0) >= SLOTS) return false;
    const at = WORD.words * 4 + (written & (SLOTS - 1)) * SLOT;
    words[at / 4] = length;
    words[at / 4 + 1] = nameLength;
    words[at / 4 + 2] = socket;
    const bytes = this.#bytes;
    for (let i = 0; i < ADDRESS; i++) bytes[at + HEAD * 4 + i] = names[name + i] as number;
    const to = at + HEAD * 4 + 32;
    for (let i = 0; i < length; i++) bytes[to + i] = packets[start + i] as number;
    Atomics.store(words, WORD.written, (written + 1) | 0);
    return true;
  }

  drop(): void {
    Atomics.add(this.#words, WORD.dropped, 1);
  }

  /** True once after the reader has gone to sleep: then somebody must wake it. For the one thread that writes. */
  mustWake(): boolean {
    return Atomics.exchange(this.#words, WORD.asleep, 0) === 1;
  }

  /** Hands over packets, whose memory is good until `take` returns; at most `limit`. Returns whether there are more. */
  drain(limit: number, take: (packet: RingPacket) => void): boolean {
    const words = this.#words;
    for (let i = 0; i < limit; i++) {
      const read = words[WORD.read] as number;
      if (read === Atomics.load(words, WORD.written)) return false;
      const at = WORD.words * 4 + (read & (SLOTS - 1)) * SLOT;
      const to = at + HEAD * 4 + 32;
      try {
        take({
          socket: words[at / 4 + 2] as number,
          address: this.#bytes.subarray(at + HEAD * 4, at + HEAD * 4 + (words[at / 4 + 1] as number)),
          packet: this.#bytes.subarray(to, to + (words[at / 4] as number)),
        });
      } finally {
        Atomics.store(words, WORD.read, (read + 1) | 0);
      }
    }
    return true;
  }

  /** Goes to sleep; false when there is something to read after all. */
  sleep(): boolean {
    Atomics.store(this.#words, WORD.asleep, 1);
    if (this.#words[WORD.read] === Atomics.load(this.#words, WORD.written)) return true;
    Atomics.store(this.#words, WORD.asleep, 0);
    return false;
  }
}
