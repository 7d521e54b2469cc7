import { FLAG } from '../wire/constants.ts';
import {
  CONTROL,
  ENTRY,
  INDEX_PROBES,
  INDEX_SLOTS,
  NODE,
  NODE_SLOTS,
  nodeWord,
  questionHash,
  type TableMemory,
  VARIANT,
} from './memory.ts';
import { Composer, MISS, OPT } from './composer.ts';
import { Question, READ } from './question.ts';
import { SIZE_BUCKET, TALLY, secondsBucket } from './tallies.ts';

/** In the place of an answer's length: the packet deserves no answer. */
export const DROP = -1;
export { MISS };

/** Answers counted before their time is known. */
const PENDING = 256;
const DENIAL = true;

/**
 * Answers plain queries from a table in shared memory, in any thread, without making objects. It knows nothing of DNS but how
 * a prebuilt answer is fitted to the query: id, flags, letter case, order of addresses, age, serial, and the OPT record.
 */
export class Reader {
  readonly #question: Question;
  readonly #control: Int32Array;
  readonly #nodes: Int32Array;
  readonly #index: Int32Array;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;
  readonly #composer: Composer;
  readonly #counts: Float64Array;
  readonly #pending = new Int32Array(PENDING);
  #pendingCount = 0;

  /** `counts`: memory that only this reader writes to (`Sorts.reader`). */
  constructor(memory: TableMemory, counts: SharedArrayBuffer) {
    this.#question = new Question(memory.seed);
    this.#control = new Int32Array(memory.control);
    this.#nodes = new Int32Array(memory.nodes);
    this.#index = new Int32Array(memory.index);
    this.#words = new Int32Array(memory.arena);
    this.#bytes = new Uint8Array(memory.arena);
    this.#composer = new Composer(memory, this.#question);
    this.#counts = new Float64Array(counts);
  }

  /**
   * Answers the packet of `length` bytes at `start`, and writes the answer to `out` at `to`, where 4,096 bytes must be free.
   * Returns its length, `MISS` or `DROP`. `now`: milliseconds since the epoch.
   */
  respond(
    packet: Uint8Array,
    start: number,
    length: number,
    out: Uint8Array,
    to: number,
    ipv6: boolean,
    now: number,
  ): number {
    const question = this.#question;
    const read = question.read(packet, start, length);
    if (read !== READ.query) return read === READ.nothing ? DROP : MISS;
    if (Atomics.load(this.#control, CONTROL.enabled) === 0 || this.#pendingCount === PENDING) return MISS;
    const epoch = Atomics.load(this.#control, CONTROL.epoch);
    const variant = (question.dnssec ? 1 : 0) | ((question.flags & FLAG.CD) === 0 ? 0 : 2);
    const name = start + 12;
    let skipped = 0;
    let entry = this.#find(question.hash, packet, name, question.nameLength, variant, false);
    if (entry < 0) {
      const label = this.#denied();
      if (label < 0) return MISS;
      skipped = question.starts[label] as number;
      const hash = questionHash(question.hashes[label] as number, question.type);
      entry = this.#find(hash, packet, name + skipped, question.nameLength - skipped, variant, DENIAL);
      if (entry < 0) return MISS;
    }
    const size = this.#composer.write(entry, packet, start, out, to, ipv6, now);
    // What was overwritten while it was read is no answer.
    if (size === MISS || Atomics.load(this.#control, CONTROL.epoch) !== epoch) return MISS;
    this.#count(this.#words[entry + ENTRY.meta] as number, size, ipv6);
    return size;
  }

  /** Adds how long the answers since the last call took; `seconds` holds for each of them. */
  took(seconds: number): void {
    const bucket = TALLY.durations + secondsBucket(seconds);
    for (let i = 0; i < this.#pendingCount; i++) {
      const at = (this.#pending[i] as number) * TALLY.words;
      this.#counts[at + bucket] = (this.#counts[at + bucket] as number) + 1;
      this.#counts[at + TALLY.seconds] = (this.#counts[at + TALLY.seconds] as number) + seconds;
    }
    this.#pendingCount = 0;
  }

  #count(meta: number, size: number, ipv6: boolean): void {
    const question = this.#question;
    const counts = this.#counts;
    const at = meta * TALLY.words;
    const asked = 12 + question.nameLength + 4 + (question.edns ? OPT : 0);
    const family = at + (ipv6 ? TALLY.ipv6 : TALLY.ipv4);
    counts[family] = (counts[family] as number) + 1;
    if (question.dnssec) counts[at + TALLY.dnssec] = (counts[at + TALLY.dnssec] as number) + 1;
    counts[at + TALLY.requestBytes] = (counts[at + TALLY.requestBytes] as number) + asked;
    counts[at + TALLY.responseBytes] = (counts[at + TALLY.responseBytes] as number) + size;
    const requests = at + TALLY.requestSizes + (SIZE_BUCKET[asked] as number);
    counts[requests] = (counts[requests] as number) + 1;
    const responses = at + TALLY.responseSizes + (SIZE_BUCKET[size] as number);
    counts[responses] = (counts[responses] as number) + 1;
    this.#pending[this.#pendingCount++] = meta;
  }

  /**
   * The label at which the zone begins that says that the name does not exist; -1 when that is not known. From the root
   * down: below a closed name every name that exists is known.
   */
  #denied(): number {
    const { hashes, labels } = this.#question;
    let zone = -1;
    let closed = false;
    for (let label = labels - 1; label >= 0; label--) {
      const flags = this.#node(hashes[label] as number);
      if (closed && flags === 0) return zone;
      if ((flags & NODE.apex) !== 0) {
        zone = label;
        closed = (flags & NODE.closed) !== 0;
      } else closed = closed && (flags & NODE.closed) !== 0;
    }
    return -1;
  }

  #node(hash: number): number {
    const word = nodeWord(hash);
    for (let slot = (word >>> 3) & (NODE_SLOTS - 1); ; slot = (slot + 1) & (NODE_SLOTS - 1)) {
      const found = this.#nodes[slot] as number;
      if (found === 0) return 0;
      if ((found & ~NODE.mask) === word) return found & NODE.mask;
    }
  }

  /** The word at which an entry that holds begins; -1 for none. */
  #find(hash: number, packet: Uint8Array, name: number, nameLength: number, variant: number, denial: boolean): number {
    const words = this.#words;
    const type = this.#question.type;
    for (let i = 0; i < INDEX_PROBES; i++) {
      const place = Atomics.load(this.#index, (hash + i) & (INDEX_SLOTS - 1));
      if (place === 0) return -1;
      const at = place * 2;
      if (words[at + ENTRY.hash] !== hash) continue;
      const key = words[at + ENTRY.key] as number;
      const kind = key >>> 16;
      if ((key & 0xffff) !== nameLength + 4) continue;
      if (denial ? kind !== VARIANT.denial : kind !== VARIANT.any && kind !== variant) continue;
      if (!this.#same(at * 4 + ENTRY.words * 4, packet, name, nameLength, type)) continue;
      if (this.#holds(at)) return at;
    }
    return -1;
  }

  #same(stored: number, packet: Uint8Array, name: number, nameLength: number, type: number): boolean {
    const bytes = this.#bytes;
    if (bytes[stored + nameLength] !== type >> 8 || bytes[stored + nameLength + 1] !== (type & 0xff)) return false;
    if (!this.#question.upper) {
      for (let i = 0; i < nameLength; i++) if (bytes[stored + i] !== packet[name + i]) return false;
      return true;
    }
    for (let i = 0; i < nameLength; i++) {
      let byte = packet[name + i] as number;
      // Lengths of labels are below 64, and never taken for letters.
      if (byte >= 65 && byte <= 90) byte += 32;
      if (bytes[stored + i] !== byte) return false;
    }
    return true;
  }

  #holds(at: number): boolean {
    const words = this.#words;
    const control = this.#control;
    return (
      words[at + ENTRY.version] === control[CONTROL.version] &&
      words[at + ENTRY.versionA] === control[CONTROL.scopes + (words[at + ENTRY.scopeA] as number)] &&
      words[at + ENTRY.versionB] === control[CONTROL.scopes + (words[at + ENTRY.scopeB] as number)]
    );
  }
}
