import { FLAG } from '../wire/constants.ts';
import { finish, hashByte } from './memory.ts';

const MAX_NAME = 255;
const MAX_LABELS = 128;
const TYPE_OPT = 41;
const OPT = 11;
const LIKE_A_QUERY = FLAG.QR | 0x7800;

/** What reading a packet came to. */
export const READ = {
  /** A plain query, whose parts are in the fields. */
  query: 0,
  /** Something that the chain must look at. */
  other: 1,
  /** Nothing that deserves an answer. */
  nothing: 2,
} as const;

/**
 * Reads plain queries without making objects: one question of class IN, no records but an OPT record without options. What
 * is not that plain is left to the codec, which gives the same for these.
 */
export class Question {
  /** Second header word. */
  flags = 0;
  /** Bytes of the name, root included. */
  nameLength = 0;
  type = 0;
  labels = 0;
  /** True when the name has upper-case letters. */
  upper = false;
  edns = false;
  udpSize = 0;
  /** Upper byte of the OPT record's flags. */
  ednsFlags = 0;
  /** Starts of the labels, counted from the name's. */
  readonly starts = new Int32Array(MAX_LABELS);
  /** Hashes of the name from each label on. */
  readonly hashes = new Int32Array(MAX_LABELS);
  readonly #seed: number;

  constructor(seed: number) {
    this.#seed = seed;
  }

  get dnssec(): boolean {
    return this.edns && (this.ednsFlags & 0x80) !== 0;
  }

  /** Hash of the question. */
  get hash(): number {
    const hash = this.labels === 0 ? this.#seed : (this.hashes[0] as number);
    return finish(hashByte(hashByte(hash, this.type >> 8), this.type & 0xff));
  }

  /** Reads the packet of `length` bytes at `start`. Returns one of `READ`. */
  read(bytes: Uint8Array, start: number, length: number): number {
    if (length < 12) return READ.nothing;
    const flags = ((bytes[start + 2] as number) << 8) | (bytes[start + 3] as number);
    if ((flags & FLAG.QR) !== 0) return READ.nothing;
    const end = start + length;
    const additional = bytes[start + 11] as number;
    if (
      (flags & LIKE_A_QUERY) !== 0 ||
      bytes[start + 4] !== 0 ||
      bytes[start + 5] !== 1 ||
      bytes[start + 6] !== 0 ||
      bytes[start + 7] !== 0 ||
      bytes[start + 8] !== 0 ||
      bytes[start + 9] !== 0 ||
      bytes[start + 10] !== 0 ||
      additional > 1
    )
      return READ.other;
    const name = start + 12;
    let at = name;
    let labels = 0;
    for (;;) {
      if (at >= end) return READ.other;
      const size = bytes[at] as number;
      if (size === 0) break;
      if (size > 63 || at + size + 2 - name > MAX_NAME) return READ.other;
      this.starts[labels] = at - name;
      labels += 1;
      at += size + 1;
    }
    const nameLength = at - name + 1;
    at += 1;
    if (at + 4 > end || bytes[at + 2] !== 0 || bytes[at + 3] !== 1) return READ.other;
    this.flags = flags;
    this.nameLength = nameLength;
    this.labels = labels;
    this.type = ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
    this.edns = additional === 1;
    if (additional === 1 && !this.#readOpt(bytes, at + 4, end)) return READ.other;
    this.#hash(bytes, name);
    return READ.query;
  }

  #readOpt(bytes: Uint8Array, at: number, end: number): boolean {
    if (at + OPT > end) return false;
    const plain =
      bytes[at] === 0 &&
      bytes[at + 1] === 0 &&
      bytes[at + 2] === TYPE_OPT &&
      bytes[at + 6] === 0 &&
      bytes[at + 9] === 0 &&
      bytes[at + 10] === 0;
    this.udpSize = ((bytes[at + 3] as number) << 8) | (bytes[at + 4] as number);
    this.ednsFlags = bytes[at + 7] as number;
    return plain;
  }

  /** From the last byte to the first, so that one pass gives the hashes of all zones that the name is in. */
  #hash(bytes: Uint8Array, name: number): void {
    let hash = this.#seed;
    let upper = false;
    let end = name + this.nameLength - 1;
    for (let label = this.labels - 1; label >= 0; label--) {
      const from = name + (this.starts[label] as number);
      for (let i = end - 1; i > from; i--) {
        let byte = bytes[i] as number;
        if (byte >= 65 && byte <= 90) {
          byte += 32;
          upper = true;
        }
        hash = hashByte(hash, byte);
      }
      hash = hashByte(hash, bytes[from] as number);
      this.hashes[label] = hash;
      end = from;
    }
    this.upper = upper;
  }
}
