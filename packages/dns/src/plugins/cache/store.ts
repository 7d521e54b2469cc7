import type { Reply } from '../../server/handler.ts';
import { type NameKey, nameKey, type Query, RCODE, type Rr, TYPE } from '../../wire/index.ts';

/** What an answer says, as far as caching is concerned. */
export type AnswerKind = 'success' | 'denial' | 'servfail' | 'uncacheable';

/** Sorts an answer (RFC 2308 for denials). A denial without SOA says nothing about how long it holds. */
export function classify(reply: Reply): AnswerKind {
  if (reply.rcode === RCODE.NOERROR && reply.answers.length > 0) return 'success';
  const soa = reply.authority.some((rr) => rr.type === TYPE.SOA);
  if (soa && (reply.rcode === RCODE.NOERROR || reply.rcode === RCODE.NXDOMAIN)) return 'denial';
  if (reply.rcode === RCODE.SERVFAIL || reply.rcode === RCODE.NOTIMP) return 'servfail';
  return reply.rcode === RCODE.NOERROR ? 'success' : 'uncacheable';
}

const FAIL_SAFE_TTL = 5;
const MAX_TTL = 3600;

/** Smallest TTL of an answer in seconds; 5 when it has no records at all. */
export function smallestTtl(reply: Reply): number {
  let smallest = MAX_TTL;
  let any = false;
  for (const section of [reply.answers, reply.authority, reply.additional]) {
    for (const rr of section) {
      any = true;
      if (rr.ttl < smallest) smallest = rr.ttl;
    }
  }
  return any ? smallest : FAIL_SAFE_TTL;
}

/** An answer kept for a while. */
export class Entry {
  readonly reply: Reply;
  readonly kind: AnswerKind;
  /** Seconds that the answer was good for when it was stored. */
  readonly ttl: number;
  /** Milliseconds since the epoch. */
  readonly storedAt: number;
  /** Hits without a long gap between them, for prefetching. */
  hits = 0;
  lastHit = 0;
  refreshing = false;
  /** Milliseconds since the epoch before which a refresh that failed is not tried again. */
  recheckAt = 0;

  constructor(reply: Reply, kind: AnswerKind, ttl: number, now: number) {
    this.reply = reply;
    this.kind = kind;
    this.ttl = ttl;
    this.storedAt = now;
  }

  /** Seconds left; negative once expired. */
  left(now: number): number {
    return this.ttl - Math.floor((now - this.storedAt) / 1000);
  }

  /** Counts a hit; hits before a gap of `gapMs` do not count. */
  touch(now: number, gapMs: number): void {
    this.hits = now - this.lastHit > gapMs ? 1 : this.hits + 1;
    this.lastHit = now;
  }
}

/** Whether an answer has what was asked for, and not only a way there. */
export function answersQuestion(reply: Reply, type: number): boolean {
  if (reply.rcode !== RCODE.NOERROR) return false;
  return reply.answers.some((rr) => rr.type === type || type === TYPE.ANY);
}

/** Owners equal to the question follow the question of whoever asks, letter case included. */
export function withoutOwner(records: readonly Rr[], key: NameKey): readonly Rr[] {
  return records.map((rr) => (rr.name !== undefined && nameKey(rr.name) === key ? { ...rr, name: undefined } : rr));
}

export function cacheKey(query: Query, dnssec: boolean, checkingDisabled: boolean): string {
  return query.key + String.fromCharCode(query.type, (dnssec ? 1 : 0) + (checkingDisabled ? 2 : 0), query.class);
}

/** Answers of one sort, the oldest thrown out when full. */
export class Shelf {
  readonly #entries = new Map<string, Entry>();
  readonly #capacity: number;
  readonly #changed: (key: string) => void;
  evictions = 0;

  /** `changed` is told the key of every entry that is replaced or goes. */
  constructor(capacity: number, changed: (key: string) => void) {
    this.#capacity = capacity;
    this.#changed = changed;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): Entry | undefined {
    return this.#entries.get(key);
  }

  set(key: string, entry: Entry): void {
    this.#changed(key);
    this.#entries.delete(key);
    if (this.#entries.size >= this.#capacity) {
      const oldest = this.#entries.keys().next();
      if (!oldest.done) this.delete(oldest.value);
      this.evictions += 1;
    }
    this.#entries.set(key, entry);
  }

  delete(key: string): void {
    if (this.#entries.delete(key)) this.#changed(key);
  }
}
