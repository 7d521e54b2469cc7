/** Bounds of CoreDNS's histograms of sizes, in bytes. */
export const SIZES = [0, 100, 200, 300, 400, 511, 1023, 2047, 4095, 8291, 16e3, 32e3, 48e3, 64e3];
/** 250 µs doubling sixteen times, as CoreDNS has, in seconds. */
export const SECONDS = Array.from({ length: 16 }, (_, i) => 0.00025 * 2 ** i);

/** Sorts of answers that are counted apart. */
const SORTS = 2048;

/** Numbers that are counted per sort of answer. */
export const TALLY = {
  ipv4: 0,
  ipv6: 1,
  dnssec: 2,
  requestBytes: 3,
  responseBytes: 4,
  seconds: 5,
  requestSizes: 6,
  responseSizes: 6 + 15,
  durations: 6 + 15 + 15,
  words: 64,
} as const;

/** Memory for the counts of one reader of tables. Only that reader writes to it. */
function createTallies(): SharedArrayBuffer {
  return new SharedArrayBuffer(SORTS * TALLY.words * 8);
}

/** Bucket of a size, for all sizes that are answered without the chain. */
export const SIZE_BUCKET: Uint8Array = Uint8Array.from({ length: 4097 }, (_, size) => {
  const bucket = SIZES.findIndex((bound) => size <= bound);
  return bucket < 0 ? SIZES.length : bucket;
});

export function secondsBucket(seconds: number): number {
  let i = 0;
  while (i < SECONDS.length && seconds > (SECONDS[i] as number)) i += 1;
  return i;
}

/** Queries of one sort that were answered without the chain and are told of together. */
export interface Tally {
  readonly type: number;
  readonly rcode: number;
  /** The plugin whose answers these are. */
  readonly by: string;
  /** Of answers from a cache: whether they denied something. */
  readonly denial: boolean;
  readonly ipv4: number;
  readonly ipv6: number;
  /** Those with the DO bit. */
  readonly dnssec: number;
  readonly requestBytes: number;
  readonly responseBytes: number;
  readonly seconds: number;
  /** Counts per bucket of `SIZES`, with one more for what is larger. */
  readonly requestSizes: ArrayLike<number>;
  readonly responseSizes: ArrayLike<number>;
  /** Counts per bucket of `SECONDS`, with one more for what is longer. */
  readonly durations: ArrayLike<number>;
}

/** Counts answers that were given without the chain. */
export interface TallyObserver {
  tally(tally: Tally): void;
}

/** What an answer is counted as. */
export interface Sort {
  /** Which block at which address. */
  readonly zone: string;
  readonly type: number;
  readonly rcode: number;
  readonly by: string;
  readonly denial: boolean;
}

/** Numbers for the sorts of answers, and the way from counts to those who count. They outlive reloads. */
export class Sorts {
  readonly #ids = new Map<string, number>();
  readonly #sorts: Sort[] = [];
  readonly #readers: { readonly counts: Float64Array; readonly seen: Float64Array }[] = [];
  readonly #observers = new Map<string, readonly TallyObserver[]>();

  /** The number of a sort; undefined when there are too many. */
  id(sort: Sort): number | undefined {
    const key = `${sort.zone} ${sort.type} ${sort.rcode} ${sort.denial} ${sort.by}`;
    let id = this.#ids.get(key);
    if (id === undefined) {
      if (this.#sorts.length === SORTS) return undefined;
      id = this.#sorts.push(sort) - 1;
      this.#ids.set(key, id);
    }
    return id;
  }

  /** Memory for one more reader's counts. */
  reader(): SharedArrayBuffer {
    const memory = createTallies();
    this.#readers.push({ counts: new Float64Array(memory), seen: new Float64Array(SORTS * TALLY.words) });
    return memory;
  }

  /** Sets who counts the answers of a zone from now on. */
  observe(zone: string, observers: readonly TallyObserver[]): void {
    this.#observers.set(zone, observers);
  }

  /** Tells those who count what has been answered since the last time. */
  collect(): void {
    const sum = new Float64Array(TALLY.words);
    this.#sorts.forEach((sort, id) => {
      sum.fill(0);
      const from = id * TALLY.words;
      for (const { counts, seen } of this.#readers) {
        for (let i = 0; i < TALLY.words; i++) {
          const now = counts[from + i] as number;
          sum[i] = (sum[i] as number) + now - (seen[from + i] as number);
          seen[from + i] = now;
        }
      }
      if (sum.every((count) => count === 0)) return;
      const tally = tallyOf(sort, sum);
      for (const observer of this.#observers.get(sort.zone) ?? []) observer.tally(tally);
    });
  }
}

function tallyOf({ type, rcode, by, denial }: Sort, sum: Float64Array): Tally {
  return {
    type,
    rcode,
    by,
    denial,
    ipv4: sum[TALLY.ipv4] as number,
    ipv6: sum[TALLY.ipv6] as number,
    dnssec: sum[TALLY.dnssec] as number,
    requestBytes: sum[TALLY.requestBytes] as number,
    responseBytes: sum[TALLY.responseBytes] as number,
    seconds: sum[TALLY.seconds] as number,
    requestSizes: sum.subarray(TALLY.requestSizes, TALLY.requestSizes + SIZES.length + 1),
    responseSizes: sum.subarray(TALLY.responseSizes, TALLY.responseSizes + SIZES.length + 1),
    durations: sum.subarray(TALLY.durations, TALLY.durations + SECONDS.length + 1),
  };
}
