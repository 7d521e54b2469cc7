import { FLAG } from '../wire/constants.ts';
import { CONTROL, ENTRY, ENTRY_FLAG, type TableMemory } from './memory.ts';
import type { Question } from './question.ts';

/** In the place of an answer's length: the chain must answer. */
export const MISS = 0;

/** Bytes of an OPT record without options. */
export const OPT = 11;
const MIRRORED = FLAG.RD | FLAG.CD;
/** As `replyLimits` has them. */
const FRAGMENT4 = 1480;
const FRAGMENT6 = 1220;
const PLAIN_SIZE = 512;

/**
 * Puts prebuilt answers together for a query: id and flags, the question as it was sent, records with its letter case, in
 * another order, with their age and the serial of now, and the OPT record.
 */
export class Composer {
  readonly #question: Question;
  readonly #control: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #doubles: Float64Array;
  #random = 0x9e3779b9 | 0;

  constructor(memory: TableMemory, question: Question) {
    this.#question = question;
    this.#control = new Int32Array(memory.control);
    this.#words = new Int32Array(memory.arena);
    this.#bytes = new Uint8Array(memory.arena);
    this.#doubles = new Float64Array(memory.arena);
  }

  /**
   * Writes the answer of the entry at a word to the query in `packet`, whose parts are in the question. Returns its length, or `MISS`
   * when the chain must fit it to the query, or when it is too old.
   */
  write(
    at: number,
    packet: Uint8Array,
    start: number,
    out: Uint8Array,
    to: number,
    ipv6: boolean,
    now: number,
  ): number {
    const question = this.#question;
    const words = this.#words;
    const sizes = words[at + ENTRY.sizes] as number;
    const body = sizes >>> 16;
    const asked = 12 + question.nameLength + 4;
    const total = asked + body + (question.edns ? OPT : 0);
    const limit = question.edns && question.udpSize > PLAIN_SIZE ? question.udpSize : PLAIN_SIZE;
    if (total > limit || total > (ipv6 ? FRAGMENT6 : FRAGMENT4)) return MISS;
    const flags = words[at + ENTRY.flags] as number;
    if (question.upper && (flags & ENTRY_FLAG.lowerOnly) !== 0) return MISS;
    const lifetime = words[at + ENTRY.ttl] as number;
    let ttl = lifetime;
    let reply = (flags & 0xffff) | FLAG.QR | (question.flags & MIRRORED);
    if (lifetime !== 0) {
      const left = lifetime - Math.floor((now - (this.#doubles[(at + ENTRY.storedAt) >> 1] as number)) / 1000);
      if (left <= 0) return MISS;
      if ((flags & ENTRY_FLAG.keepTtl) === 0) ttl = left;
      if (!question.dnssec && (question.flags & FLAG.AD) === 0) reply &= ~FLAG.AD;
    }
    const counts = words[at + ENTRY.counts] as number;
    const additional = (sizes & 0xffff) + (question.edns ? 1 : 0);
    out[to] = packet[start] as number;
    out[to + 1] = packet[start + 1] as number;
    out[to + 2] = reply >> 8;
    out[to + 3] = reply & 0xff;
    out[to + 4] = 0;
    out[to + 5] = 1;
    out[to + 6] = (counts >> 8) & 0xff;
    out[to + 7] = counts & 0xff;
    out[to + 8] = counts >>> 24;
    out[to + 9] = (counts >>> 16) & 0xff;
    out[to + 10] = additional >> 8;
    out[to + 11] = additional & 0xff;
    for (let i = 12; i < asked; i++) out[to + i] = packet[start + i] as number;
    this.#records(at, out, to + asked, body);
    this.#patch(at, packet, start + 12, out, to + asked, body, ttl);
    if (question.edns) this.#opt(out, to + asked + body);
    return total;
  }

  /** Copies the records; those that are to be rotated begin with any of them. */
  #records(at: number, out: Uint8Array, to: number, size: number): void {
    const words = this.#words;
    const bytes = this.#bytes;
    const from = at * 4 + ((words[at + ENTRY.starts] as number) >>> 16);
    const count = words[at + ENTRY.rotateCount] as number;
    // An entry that is overwritten at this moment may say anything; nothing of it is sent, but it must not lead astray.
    if (count === 0 || ((words[at + ENTRY.rotate] as number) >>> 16) * count > size) {
      for (let i = 0; i < size; i++) out[to + i] = bytes[from + i] as number;
      return;
    }
    const rotate = words[at + ENTRY.rotate] as number;
    const first = rotate & 0xffff;
    const unit = rotate >>> 16;
    const all = unit * count;
    const shift = (this.#next() % count) * unit;
    for (let i = 0; i < first; i++) out[to + i] = bytes[from + i] as number;
    for (let i = 0; i < all; i++) {
      const source = i + shift;
      out[to + first + i] = bytes[from + first + (source >= all ? source - all : source)] as number;
    }
    for (let i = first + all; i < size; i++) out[to + i] = bytes[from + i] as number;
  }

  /** Letter case of the question, remaining seconds, serial. */
  #patch(at: number, packet: Uint8Array, name: number, out: Uint8Array, to: number, size: number, ttl: number): void {
    const words = this.#words;
    const bytes = this.#bytes;
    const patches = words[at + ENTRY.patches] as number;
    const echoes = patches & 0xff;
    let patch = at * 4 + ((words[at + ENTRY.starts] as number) & 0xffff);
    if (this.#question.upper) {
      const end = name + this.#question.nameLength;
      for (let i = 0; i < echoes; i++) {
        const target = number(bytes, patch + i * 4);
        const length = number(bytes, patch + i * 4 + 2) & 0xff;
        if (target + length > size) return;
        for (let j = 0; j < length; j++) out[to + target + j] = packet[end - length + j] as number;
      }
    }
    patch += echoes * 4;
    if ((words[at + ENTRY.ttl] as number) !== 0) {
      const ttls = (patches >>> 16) & 0xff;
      for (let i = 0; i < ttls; i++) {
        const target = number(bytes, patch + i * 2);
        if (target < size) put32(out, to + target, ttl);
      }
    }
    const serial = words[at + ENTRY.serial] as number;
    if (serial === 0 || (serial & 0xffff) > size) return;
    put32(out, to + (serial & 0xffff) - 1, this.#control[CONTROL.serials + (serial >>> 16)] as number);
  }

  /** As `writeReply` answers an OPT record without options. */
  #opt(out: Uint8Array, at: number): void {
    const { udpSize, ednsFlags } = this.#question;
    for (let i = 0; i < OPT; i++) out[at + i] = 0;
    out[at + 2] = 41;
    out[at + 3] = udpSize >> 8;
    out[at + 4] = udpSize & 0xff;
    out[at + 7] = ednsFlags;
  }

  #next(): number {
    let x = this.#random;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#random = x;
    return x >>> 0;
  }
}

function number(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

function put32(out: Uint8Array, at: number, value: number): void {
  out[at] = value >>> 24;
  out[at + 1] = (value >>> 16) & 0xff;
  out[at + 2] = (value >>> 8) & 0xff;
  out[at + 3] = value & 0xff;
}
