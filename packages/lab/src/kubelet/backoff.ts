/** Kubernetes' back-off: the first repetition at once, then after 10 s, doubled up to five minutes. Milliseconds. */
const FIRST = 10_000;
const LONGEST = 300_000;
/** Without trouble for this long, the next trouble is the first again. */
const FORGET = 2 * LONGEST;

interface Entry {
  delay: number;
  at: number;
}

/** Delays per key, as client-go's flowcontrol.Backoff counts them. */
export class BackoffTable {
  readonly #entries = new Map<string, Entry>();

  /** Milliseconds that `key` has to wait at present. */
  delay(key: string): number {
    return this.#entries.get(key)?.delay ?? 0;
  }

  /** The end of the wait for something that failed at `since`; undefined when it may be tried at once. */
  until(key: string, since: number, now: number): number | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined || since - entry.at > FORGET) return undefined;
    const until = since + entry.delay;
    return until > now ? until : undefined;
  }

  /** Counts another try, made because of a failure at `since`. */
  next(key: string, since: number, now: number): void {
    const entry = this.#entries.get(key);
    if (entry === undefined || since - entry.at > FORGET) this.#entries.set(key, { delay: FIRST, at: now });
    else this.#entries.set(key, { delay: Math.min(entry.delay * 2, LONGEST), at: now });
  }

  forget(key: string): void {
    this.#entries.delete(key);
  }
}

/** A delay as Go prints it: `10s`, `2m40s`, `5m0s`. */
export function goDuration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000);
  if (seconds < 60) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  const rest = `${minutes % 60}m${seconds % 60}s`;
  return minutes < 60 ? rest : `${Math.floor(minutes / 60)}h${rest}`;
}
