import type { Logger } from '@weft/plan';

const RETRY_MS = 1000;
/** How often work that waits for something is looked at. */
const WAIT_MS = 500;

/**
 * Work of the server's own controllers. It runs after the tick of the commit that caused it (a listener of the store
 * must not write), once per key however often it was asked for, and again later when it throws or has to wait.
 */
export class WorkQueue {
  readonly #log: Logger;
  readonly #queued = new Map<string, () => boolean>();
  readonly #timers = new Set<NodeJS.Timeout>();
  #stopped = false;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** `run` gives true when it has to be called again. */
  add(key: string, run: () => boolean): void {
    if (this.#stopped) return;
    const waiting = this.#queued.has(key);
    this.#queued.set(key, run);
    if (!waiting) setImmediate(() => this.#run(key));
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers) clearTimeout(timer);
  }

  #run(key: string): void {
    const run = this.#queued.get(key);
    this.#queued.delete(key);
    if (run === undefined || this.#stopped) return;
    try {
      if (run()) this.#later(WAIT_MS, key, run);
    } catch (error) {
      this.#log.warn('a controller of the API server failed; it will try again', { key, error });
      this.#later(RETRY_MS, key, run);
    }
  }

  #later(ms: number, key: string, run: () => boolean): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.add(key, run);
    }, ms);
    this.#timers.add(timer);
  }
}
