import { type AnswerCache, andThen, type Handler, type Outcome, type Reply, type Serve } from '../../server/handler.ts';
import type { Cell } from '../../server/metrics.ts';
import type { Clock } from '../../server/plugin.ts';
import { INTERNAL, Request } from '../../server/request.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import type { Tally } from '../../fast/tallies.ts';
import { FLAG, OPCODE, type Query, RCODE, TYPE } from '../../wire/index.ts';
import { answersQuestion, cacheKey, classify, Entry, Shelf, smallestTtl, withoutOwner } from './store.ts';

/** Limits of one sort of answers: entries, and seconds. */
interface ShelfOptions {
  readonly capacity: number;
  readonly maxTtl: number;
  readonly minTtl: number;
  /** Zones whose answers of this sort are not kept. */
  readonly disabled: readonly string[];
}

export interface CacheOptions {
  readonly zones: readonly string[];
  readonly success: ShelfOptions;
  readonly denial: ShelfOptions;
  /** Seconds. */
  readonly servfailTtl: number;
  readonly prefetch: { readonly amount: number; readonly gapMs: number; readonly percent: number } | undefined;
  readonly stale:
    | {
        readonly forMs: number;
        readonly mode: 'immediate' | 'verify';
        readonly timeoutMs: number;
        /** Seconds that clients may keep a stale answer. Default 0. */
        readonly ttl?: number;
        /** Milliseconds between attempts to refresh that fail. Default 0. */
        readonly recheckMs?: number;
        /** A good answer of before is preferred to a denial of now. */
        readonly preferPositive?: boolean;
      }
    | undefined;
  readonly keepTtl: boolean;
}

export interface CacheMetrics {
  readonly hits: { readonly success: Cell; readonly denial: Cell };
  readonly misses: Cell;
  readonly requests: Cell;
  readonly prefetches: Cell;
  readonly stale: Cell;
  readonly drops: Cell;
}

/** Remembers answers of the plugins after it. Names that one of them owns are always asked anew. */
export class CacheHandler implements Handler {
  readonly name = 'cache';
  readonly transparent = true;
  readonly success: Shelf;
  readonly denial: Shelf;
  readonly #options: CacheOptions;
  readonly #metrics: CacheMetrics;
  readonly #clock: Clock;
  readonly #zones: ZoneSet;
  readonly #noSuccess: ZoneSet;
  readonly #noDenial: ZoneSet;
  #owners: readonly Handler[] = [];
  readonly #listeners = new Set<(key: string) => void>();

  readonly cached: AnswerCache = {
    peek: (query, dnssec) => this.#peek(query, dnssec),
    onChange: (listener) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
  };

  constructor(options: CacheOptions, metrics: CacheMetrics, clock: Clock) {
    this.#options = options;
    this.#metrics = metrics;
    this.#clock = clock;
    const changed = (key: string): void => {
      for (const listener of this.#listeners) listener(key);
    };
    this.success = new Shelf(options.success.capacity, changed);
    this.denial = new Shelf(options.denial.capacity, changed);
    this.#zones = new ZoneSet(options.zones);
    this.#noSuccess = new ZoneSet(options.success.disabled);
    this.#noDenial = new ZoneSet(options.denial.disabled);
  }

  linked(later: readonly Handler[]): void {
    this.#owners = later.filter((handler) => handler.owns !== undefined);
  }

  /** Counts hits of answers that others gave. */
  tally({ by, denial, ipv4, ipv6 }: Tally): void {
    if (by !== this.name) return;
    this.#metrics.requests.value += ipv4 + ipv6;
    this.#metrics.hits[denial ? 'denial' : 'success'].value += ipv4 + ipv6;
  }

  /** What `serve` would replay, when it would do nothing else. */
  #peek(query: Query, dnssec: boolean): ReturnType<AnswerCache['peek']> {
    // Hits decide what is fetched ahead of time, and must be seen here.
    if (this.#options.prefetch !== undefined || !this.#zones.has(query.key, query.labels)) return undefined;
    for (const owner of this.#owners) if (owner.owns?.(query.key, query.labels) === true) return undefined;
    const now = this.#clock.now();
    const key = cacheKey(query, dnssec, (query.flags & FLAG.CD) !== 0);
    const entry = this.#find(key, now, query.type);
    if (entry === undefined || entry.left(now) <= 0) return undefined;
    const { reply, ttl, storedAt, kind } = entry;
    return { reply, ttl, storedAt, keepTtl: this.#options.keepTtl, denial: kind !== 'success', key };
  }

  serve(request: Request, next: Serve): Outcome | Promise<Outcome> {
    const { query } = request;
    if (!this.#zones.has(query.key, query.labels) || ((query.flags >> 11) & 15) !== OPCODE.QUERY) return next(request);
    if (query.type === TYPE.AXFR || query.type === TYPE.IXFR) return next(request);
    for (const owner of this.#owners) if (owner.owns?.(query.key, query.labels) === true) return next(request);
    this.#metrics.requests.value += 1;
    const now = this.#clock.now();
    const key = cacheKey(query, request.do, (query.flags & FLAG.CD) !== 0);
    const entry = this.#find(key, now, query.type);
    if (entry === undefined) {
      this.#metrics.misses.value += 1;
      return andThen(next(request), (outcome) => this.#keep(key, request, outcome));
    }
    const left = entry.left(now);
    if (left > 0) {
      this.#hit(entry);
      if (this.#shouldPrefetch(entry, left, now)) {
        this.#metrics.prefetches.value += 1;
        this.#refresh(key, entry, request, next);
      }
      return this.#replay(entry, request, this.#options.keepTtl ? entry.ttl : left);
    }
    return this.#serveStale(key, entry, request, next);
  }

  #hit(entry: Entry): void {
    this.#metrics.hits[entry.kind === 'success' ? 'success' : 'denial'].value += 1;
  }

  /** The entry to answer from: fresh, or stale when that is allowed. A failure never hides a good answer. */
  #find(key: string, now: number, type: number): Entry | undefined {
    const staleMs = this.#options.stale?.forMs ?? 0;
    const usable = (entry: Entry | undefined): entry is Entry => {
      if (entry === undefined) return false;
      const left = entry.left(now);
      return left > 0 || (entry.kind !== 'servfail' && staleMs > 0 && -left * 1000 < staleMs);
    };
    const denial = this.denial.get(key);
    const success = this.success.get(key);
    if (this.#options.stale?.preferPositive === true && usable(success) && answersQuestion(success.reply, type))
      return success;
    if (usable(denial)) {
      const better =
        usable(success) && (denial.kind === 'servfail' || (denial.left(now) <= 0 && success.left(now) > 0));
      return better ? success : denial;
    }
    return usable(success) ? success : undefined;
  }

  #serveStale(key: string, entry: Entry, request: Request, next: Serve): Outcome | Promise<Outcome> {
    const { stale } = this.#options;
    if (stale?.mode !== 'verify') {
      this.#hit(entry);
      this.#metrics.stale.value += 1;
      if (entry.recheckAt <= this.#clock.now()) this.#refresh(key, entry, request, next);
      return this.#replay(entry, request, stale?.ttl ?? 0);
    }
    const { type } = request.query;
    const prefers = stale.preferPositive === true && answersQuestion(entry.reply, type);
    const fresh = andThen(next(request), (outcome) => this.#keep(key, request, outcome));
    const orStale = (outcome: Outcome | undefined): Outcome => {
      const good =
        outcome?.kind === 'reply' &&
        (prefers
          ? answersQuestion(outcome, type)
          : outcome.rcode === RCODE.NOERROR || outcome.rcode === RCODE.NXDOMAIN);
      if (good) return outcome;
      this.#metrics.stale.value += 1;
      return this.#replay(entry, request, stale.ttl ?? 0);
    };
    if (!(fresh instanceof Promise)) return orStale(fresh);
    const settled = fresh.catch(() => undefined);
    if (stale.timeoutMs === 0) return settled.then(orStale);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), stale.timeoutMs);
    });
    return Promise.race([settled, late]).then((outcome) => {
      clearTimeout(timer);
      return orStale(outcome);
    });
  }

  #shouldPrefetch(entry: Entry, left: number, now: number): boolean {
    const { prefetch } = this.#options;
    if (prefetch === undefined) return false;
    entry.touch(now, prefetch.gapMs);
    return entry.hits >= prefetch.amount && left <= Math.ceil((prefetch.percent / 100) * entry.ttl);
  }

  /** Asks again in the background; one refresh per entry at a time. */
  #refresh(key: string, entry: Entry, request: Request, next: Serve): void {
    if (entry.refreshing) return;
    entry.refreshing = true;
    const again = new Request(request.query, INTERNAL);
    // The client's answer must not wait for this, not even for the part that runs at once.
    setImmediate(() => {
      void (async () => {
        try {
          this.#keep(key, again, await next(again));
        } finally {
          entry.refreshing = false;
          // One that went well has put another entry in its place.
          entry.recheckAt = this.#clock.now() + (this.#options.stale?.recheckMs ?? 0);
        }
      })().catch(() => {});
    });
  }

  /** The stored answer with its remaining seconds. */
  #replay(entry: Entry, request: Request, ttl: number): Reply {
    const wantsAd = request.do || (request.query.flags & FLAG.AD) !== 0;
    const flags = wantsAd ? entry.reply.flags : entry.reply.flags & ~FLAG.AD;
    return { ...entry.reply, flags, ttl };
  }

  /** An answer that has nothing of what was asked for must not take the place of one that has, where that is preferred. */
  #wouldLose(key: string, reply: Reply, type: number): boolean {
    if (this.#options.stale?.preferPositive !== true || answersQuestion(reply, type)) return false;
    const known = this.success.get(key);
    return known !== undefined && answersQuestion(known.reply, type);
  }

  /** Stores an answer that may be stored, and gives it the TTL that it will age from. */
  #keep(key: string, request: Request, outcome: Outcome): Outcome {
    if (outcome.kind === 'failure' || outcome.own === true) return outcome;
    const kind = classify(outcome);
    if (kind === 'uncacheable' || (outcome.flags & FLAG.TC) !== 0) return outcome;
    const { success, denial, servfailTtl } = this.#options;
    const limits = kind === 'success' ? success : denial;
    const ttl = kind === 'servfail' ? servfailTtl : clamp(smallestTtl(outcome), limits.minTtl, limits.maxTtl);
    const disabled = kind === 'success' ? this.#noSuccess : this.#noDenial;
    const { query } = request;
    if (ttl > 0 && !disabled.has(query.key, query.labels)) {
      const stored: Reply = {
        ...outcome,
        by: this.name,
        answers: withoutOwner(outcome.answers, query.key),
        // EDNS options are for one client and one exchange (RFC 6891 section 6.1.3).
        options: undefined,
      };
      const entry = new Entry(stored, kind, ttl, this.#clock.now());
      if (kind === 'success') {
        if (this.#wouldLose(key, outcome, query.type)) return { ...outcome, ttl };
        this.success.set(key, entry);
        this.denial.delete(key);
      } else this.denial.set(key, entry);
    }
    const wantsAd = request.do || (query.flags & FLAG.AD) !== 0;
    return { ...outcome, flags: wantsAd ? outcome.flags : outcome.flags & ~FLAG.AD, ttl };
  }
}

function clamp(ttl: number, min: number, max: number): number {
  return Math.min(max, Math.max(min, ttl));
}
