import { isStatus } from '@weft/kube';
import type { Counter, Gauge, Histogram, Logger, Metrics } from '@weft/plan';

export interface WorkQueueOptions {
  /** The `controller` label of metrics and log lines. */
  readonly name: string;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Ends the queue: nothing is started any more. */
  readonly signal: AbortSignal;
  /** How many keys are worked on at a time. Default 4. */
  readonly concurrency?: number;
  /** First and longest delay before a failed key is tried again, in milliseconds. Default 10 ms and 30 s. */
  readonly backoffMs?: { readonly first: number; readonly max: number };
  /** Called for a failure that is not just a lost race, for example to write an Event. */
  onFailure?(key: string, error: unknown): void;
}

/** What a reconciliation asks for: nothing, or to be called again after so many milliseconds. */
export type Again = number | undefined;

/**
 * Keys of objects that have to be brought in order.
 *
 * A key is worked on once at a time; what is added meanwhile is one further run. Keys that were added in one turn of the
 * event loop are started in the next, so that a burst of events costs one run. A failed key is tried again with growing
 * delay and never holds up the others.
 */
export class WorkQueue {
  readonly #reconcile: (key: string) => Promise<Again | void>;
  readonly #options: WorkQueueOptions;
  readonly #log: Logger;
  readonly #waiting = new Set<string>();
  readonly #running = new Set<string>();
  /** Keys that were added while they were being worked on. */
  readonly #dirty = new Set<string>();
  readonly #failures = new Map<string, number>();
  readonly #timers = new Map<string, { at: number; timer: NodeJS.Timeout }>();
  readonly #labels: { controller: string };
  readonly #runs: Counter;
  readonly #failed: Counter;
  readonly #depth: Gauge;
  readonly #duration: Histogram;
  #idleWaiters: (() => void)[] = [];
  #held = true;
  #pumping = false;

  /** Starts held: keys are collected until `release`, which is called when the caches are filled. */
  constructor(options: WorkQueueOptions, reconcile: (key: string) => Promise<Again | void>) {
    this.#options = options;
    this.#reconcile = reconcile;
    this.#labels = { controller: options.name };
    this.#log = options.log.child(this.#labels);
    const m = options.metrics;
    this.#runs = m.counter('weft_controller_reconciles_total', 'Objects brought in order by a controller.');
    this.#failed = m.counter('weft_controller_failures_total', 'Failed reconciliations; each is tried again.');
    this.#depth = m.gauge('weft_controller_queue_depth', 'Objects that wait for a controller.');
    this.#duration = m.histogram('weft_controller_duration_seconds', 'Time to bring one object in order.');
    options.signal.addEventListener('abort', () => this.#stop(), { once: true });
  }

  add(key: string): void {
    if (this.#options.signal.aborted) return;
    const timed = this.#timers.get(key);
    if (timed !== undefined && !this.#failures.has(key)) {
      clearTimeout(timed.timer);
      this.#timers.delete(key);
    }
    this.#enqueue(key);
  }

  /** Adds the key after `ms` milliseconds, unless it is added before; an earlier time that was asked for stays. */
  addAfter(key: string, ms: number): void {
    if (this.#options.signal.aborted) return;
    const at = Date.now() + ms;
    const old = this.#timers.get(key);
    if (old !== undefined) {
      if (old.at <= at) return;
      clearTimeout(old.timer);
    }
    const timer = setTimeout(
      () => {
        this.#timers.delete(key);
        this.#enqueue(key);
      },
      // setTimeout takes a later time for none at all.
      Math.min(Math.max(0, ms), 0x7fffffff),
    );
    this.#timers.set(key, { at, timer });
  }

  /** Starts working. */
  release(): void {
    this.#held = false;
    this.#schedule();
  }

  /** Resolves when no key waits or is worked on; timers do not count. */
  async idle(): Promise<void> {
    while ((this.#waiting.size > 0 || this.#running.size > 0) && !this.#options.signal.aborted) {
      await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
    }
  }

  #enqueue(key: string): void {
    if (this.#running.has(key)) this.#dirty.add(key);
    else this.#waiting.add(key);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#pumping || this.#held || this.#options.signal.aborted) return;
    this.#pumping = true;
    setImmediate(() => {
      this.#pumping = false;
      this.#pump();
    });
  }

  #pump(): void {
    const limit = this.#options.concurrency ?? 4;
    for (const key of this.#waiting) {
      if (this.#running.size >= limit || this.#options.signal.aborted) break;
      this.#waiting.delete(key);
      this.#running.add(key);
      void this.#run(key);
    }
    this.#depth.set(this.#waiting.size, this.#labels);
  }

  async #run(key: string): Promise<void> {
    const started = performance.now();
    try {
      const again = await this.#reconcile(key);
      this.#failures.delete(key);
      this.#runs.inc(this.#labels);
      if (again !== undefined) this.addAfter(key, again);
    } catch (error) {
      this.#fail(key, error);
    }
    this.#duration.observe((performance.now() - started) / 1000, this.#labels);
    this.#running.delete(key);
    // A failed key waits for its delay even when it was added meanwhile.
    if (this.#dirty.delete(key) && !this.#failures.has(key)) this.#waiting.add(key);
    this.#schedule();
    if (this.#waiting.size === 0 && this.#running.size === 0) {
      for (const resolve of this.#idleWaiters.splice(0)) resolve();
    }
  }

  #fail(key: string, error: unknown): void {
    if (this.#options.signal.aborted) return;
    const failures = (this.#failures.get(key) ?? 0) + 1;
    this.#failures.set(key, failures);
    this.#failed.inc(this.#labels);
    const { first, max } = this.#options.backoffMs ?? { first: 10, max: 30_000 };
    const retryInMs = Math.min(max, first * 2 ** Math.min(failures - 1, 20));
    if (isLostRace(error)) this.#log.debug('lost a race, trying again', { key, error });
    else {
      this.#log.warn('could not bring an object in order, trying again', { key, error, retryInMs });
      this.#options.onFailure?.(key, error);
    }
    this.addAfter(key, retryInMs);
  }

  #stop(): void {
    for (const { timer } of this.#timers.values()) clearTimeout(timer);
    this.#timers.clear();
    this.#waiting.clear();
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}

/** True when somebody else changed or removed the object since it was read: the next reading settles it. */
export function isLostRace(error: unknown): boolean {
  return isStatus(error, 'Conflict') || isStatus(error, 'NotFound') || isStatus(error, 'AlreadyExists');
}
