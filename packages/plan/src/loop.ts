import { CompactMap } from './compact-map.ts';
import { errorMessage } from './errors.ts';
import type { Logger } from './log.ts';
import type { Counter, Gauge, Histogram, Metrics } from './metrics.ts';
import { type Diff, diffPlans, type Entry, isEmptyDiff, type Plan, sameValue } from './plan.ts';

/**
 * The parts of a subsystem that the loop drives.
 *
 * A plan is compiled in *units*: the keys of the API objects that can change on their own (a Service, a Node). A
 * change to one unit costs the compilation of that unit, whatever the size of the rest. Entries of different units
 * must have different keys.
 */
export interface Subsystem<V> {
  /** Name used in logs and as the `subsystem` label of metrics. */
  readonly name: string;
  /** Pure: what must exist because of `unit`. An empty plan when the unit is gone. */
  compile(unit: string): Plan<V>;
  /** Side effects only: leads the world from the applied plan to the next one, as one transaction where there is one. */
  apply(diff: Diff<V>): Promise<void>;
  /**
   * Slow comparison with the world. Returns the number of entries that had drifted and were repaired.
   * `applied` is what the loop believes to exist.
   */
  audit?(applied: Plan<V>): Promise<number>;
  readonly same?: (a: V, b: V) => boolean;
}

export interface LoopOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Shortest time between the starts of two applies, in milliseconds. Default 0: as soon as the last has ended. */
  readonly minIntervalMs?: number;
  /** First and longest delay before a failed apply is tried again, in milliseconds. */
  readonly backoffMs?: { readonly first: number; readonly max: number };
  /** Time between audits in milliseconds. 0 switches audits off. */
  readonly auditMs?: number;
}

/** How far a loop has come; for health endpoints and `status` commands. */
export interface LoopState {
  readonly applies: number;
  readonly failures: number;
  readonly entries: number;
  readonly pending: number;
  readonly lastError: string | undefined;
  /** Milliseconds since the epoch of the last successful apply, or undefined. */
  readonly lastAppliedAt: number | undefined;
}

interface Compiled<V> {
  readonly unit: string;
  readonly plan: Plan<V>;
}

/** Most applies of one run that looks for the units at fault. */
const ISOLATION_APPLIES = 64;

/**
 * The one loop under every subsystem: coalesces touched units, compiles them, diffs against what was applied,
 * applies, retries with back-off, audits and measures.
 */
export class PlanLoop<V> {
  readonly #subsystem: Subsystem<V>;
  readonly #log: Logger;
  readonly #minIntervalMs: number;
  readonly #backoff: { readonly first: number; readonly max: number };
  readonly #applied = new CompactMap<Entry<V>>();
  /** A unit has one entry as a rule; a plain string then saves a list for each of many thousands. */
  readonly #keysOfUnit = new CompactMap<string | readonly string[]>();
  readonly #dirty = new Set<string>();
  readonly #idleWaiters: (() => void)[] = [];
  #triedWaiters: { runs: number; readonly resolve: () => void }[] = [];
  readonly #duration: Histogram;
  readonly #applies: Counter;
  readonly #failures: Counter;
  readonly #changes: Counter;
  readonly #drift: Counter;
  readonly #size: Gauge;
  readonly #labels: Readonly<Record<string, string>>;
  #auditTimer: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #immediate: NodeJS.Immediate | undefined;
  #running: Promise<void> | undefined;
  #stopped = false;
  #held = false;
  #lastStart = 0;
  #delay = 0;
  #state = {
    applies: 0,
    failures: 0,
    lastError: undefined as string | undefined,
    lastAppliedAt: undefined as number | undefined,
  };

  constructor(subsystem: Subsystem<V>, options: LoopOptions) {
    this.#subsystem = subsystem;
    this.#log = options.log.child({ subsystem: subsystem.name });
    this.#minIntervalMs = options.minIntervalMs ?? 0;
    this.#backoff = options.backoffMs ?? { first: 100, max: 30_000 };
    this.#labels = { subsystem: subsystem.name };
    const m = options.metrics;
    this.#duration = m.histogram('weft_apply_duration_seconds', 'Time to bring one change into effect.');
    this.#applies = m.counter('weft_applies_total', 'Successful applies.');
    this.#failures = m.counter('weft_apply_failures_total', 'Failed applies; each is tried again.');
    this.#changes = m.counter('weft_plan_changes_total', 'Entries added, changed or removed.');
    this.#drift = m.counter('weft_drift_repaired_total', 'Entries that an audit found changed by others and repaired.');
    this.#size = m.gauge('weft_plan_entries', 'Entries of the applied plan.');
    const auditMs = options.auditMs ?? 0;
    if (auditMs > 0 && subsystem.audit !== undefined) {
      this.#auditTimer = setInterval(() => void this.auditNow(), auditMs);
      this.#auditTimer.unref();
    }
  }

  /** What the loop believes to exist. */
  get applied(): Plan<V> {
    return this.#applied;
  }

  get state(): LoopState {
    return { ...this.#state, entries: this.#applied.size, pending: this.#dirty.size };
  }

  /** Takes over a plan that is known to be in effect already, so that the first apply is only the difference. */
  adopt(unit: string, plan: Plan<V>): void {
    for (const [key, entry] of plan) this.#applied.set(key, entry);
    this.#remember(unit, plan);
  }

  /** Marks a unit as changed. */
  touch(unit: string): void {
    this.#dirty.add(unit);
    this.#schedule(0);
  }

  /** Collects touches without applying until `release`, so that the first sync is one transaction. */
  hold(): void {
    this.#held = true;
  }

  release(): void {
    this.#held = false;
    this.#schedule(0);
  }

  /** Resolves when everything touched so far has been applied. */
  idle(): Promise<void> {
    if (this.#dirty.size === 0 && this.#running === undefined) return Promise.resolve();
    return new Promise((resolve) => this.#idleWaiters.push(resolve));
  }

  /** Resolves when everything touched so far has been tried once, whether it is in effect or has failed. */
  tried(): Promise<void> {
    if (this.#stopped || (this.#dirty.size === 0 && this.#running === undefined)) return Promise.resolve();
    // What runs now has begun without it.
    return new Promise((resolve) => this.#triedWaiters.push({ runs: this.#running === undefined ? 1 : 2, resolve }));
  }

  /** Does `work` between two applies: none runs when it starts, and none starts before it has ended. */
  async between<T>(work: () => Promise<T>): Promise<T> {
    while (this.#running !== undefined) await this.#running;
    let result: { readonly value: T } | undefined;
    let failure: { readonly error: unknown } | undefined;
    await this.#exclusively(async () => {
      try {
        result = { value: await work() };
      } catch (error) {
        failure = { error };
      }
    });
    if (failure !== undefined) throw failure.error;
    return (result as { readonly value: T }).value;
  }

  /** Runs the audit at once. Returns how many entries were repaired. */
  async auditNow(): Promise<number> {
    if (this.#subsystem.audit === undefined) return 0;
    while (this.#running !== undefined) await this.#running;
    if (this.#stopped) return 0;
    let repaired = 0;
    // An apply in the middle of it would look like drift.
    await this.#exclusively(async () => {
      try {
        repaired = (await this.#subsystem.audit?.(this.#applied)) ?? 0;
        if (repaired === 0) return;
        this.#drift.inc(this.#labels, repaired);
        this.#log.warn('repaired entries that something else had changed', { entries: repaired });
      } catch (error) {
        this.#log.error('audit failed', { error });
      }
    });
    return repaired;
  }

  /** Stops scheduling; resolves when a running apply has ended. What was applied stays in effect. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    if (this.#immediate !== undefined) clearImmediate(this.#immediate);
    clearInterval(this.#auditTimer);
    await this.#running;
    this.#wakeTried();
    this.#wake();
  }

  #schedule(delayMs: number): void {
    if (this.#stopped || this.#held || this.#running !== undefined) return;
    if (this.#timer !== undefined || this.#immediate !== undefined) return;
    const wait = Math.max(delayMs, this.#delay, this.#lastStart + this.#minIntervalMs - performance.now());
    const run = (): void => {
      this.#timer = undefined;
      this.#immediate = undefined;
      void this.#exclusively(() => this.#run());
    };
    // A microtask would split a burst of events that arrives in one read into many transactions.
    if (this.#minIntervalMs === 0 && wait <= 0) this.#immediate = setImmediate(run);
    else if (this.#lastStart === 0 && this.#delay === 0) this.#immediate = setImmediate(run);
    else this.#timer = setTimeout(run, Math.max(0, wait));
  }

  #exclusively(work: () => Promise<void>): Promise<void> {
    this.#running = work().finally(() => {
      this.#running = undefined;
      this.#wakeTried();
      if (this.#dirty.size > 0) this.#schedule(0);
      else this.#wake();
    });
    return this.#running;
  }

  async #run(): Promise<void> {
    this.#lastStart = performance.now();
    const units = [...this.#dirty];
    this.#dirty.clear();
    const compiled: Compiled<V>[] = [];
    for (const unit of units) {
      try {
        compiled.push({ unit, plan: this.#subsystem.compile(unit) });
      } catch (error) {
        // A unit that cannot be compiled keeps what it had; the rest is served.
        this.#failures.inc(this.#labels);
        this.#log.error('cannot compile', { unit, error });
      }
    }
    const failed = await this.#applyUnits(compiled, { left: ISOLATION_APPLIES });
    for (const { unit } of failed) this.#dirty.add(unit);
    if (failed.length === 0) this.#delay = 0;
    else {
      this.#delay = Math.min(this.#backoff.max, this.#delay === 0 ? this.#backoff.first : this.#delay * 2);
      this.#log.error('apply failed', {
        error: this.#state.lastError,
        units: failed.length,
        unit: failed[0]?.unit,
        retryInMs: this.#delay,
      });
    }
  }

  /**
   * Applies units as one transaction. When that fails the halves are tried, so that one entry that the kernel refuses
   * does not keep the others out. Returns the units that are not in effect.
   */
  async #applyUnits(units: readonly Compiled<V>[], budget: { left: number }): Promise<readonly Compiled<V>[]> {
    budget.left -= 1;
    const error = await this.#applyOnce(units);
    if (error === undefined) return [];
    if (units.length <= 1 || budget.left <= 0) return units;
    const middle = units.length >> 1;
    const first = await this.#applyUnits(units.slice(0, middle), budget);
    const second = budget.left > 0 ? await this.#applyUnits(units.slice(middle), budget) : units.slice(middle);
    return [...first, ...second];
  }

  /** Undefined when the units are in effect, else what went wrong. */
  async #applyOnce(units: readonly Compiled<V>[]): Promise<{ readonly error: unknown } | undefined> {
    const started = performance.now();
    const before = new Map<string, Entry<V>>();
    const after = new Map<string, Entry<V>>();
    for (const { unit, plan } of units) {
      for (const key of [this.#keysOfUnit.get(unit) ?? []].flat()) {
        const entry = this.#applied.get(key);
        if (entry !== undefined) before.set(key, entry);
      }
      for (const [key, entry] of plan) after.set(key, entry);
    }
    const diff = diffPlans(before, after, this.#subsystem.same ?? sameValue);
    try {
      if (!isEmptyDiff(diff)) await this.#subsystem.apply(diff);
    } catch (error) {
      this.#state.failures += 1;
      this.#state.lastError = errorMessage(error);
      this.#failures.inc(this.#labels);
      return { error };
    }
    for (const key of before.keys()) if (!after.has(key)) this.#applied.delete(key);
    for (const [key, entry] of after) this.#applied.set(key, entry);
    for (const { unit, plan } of units) this.#remember(unit, plan);
    this.#state.applies += 1;
    this.#state.lastError = undefined;
    this.#state.lastAppliedAt = Date.now();
    this.#applies.inc(this.#labels);
    this.#changes.inc(this.#labels, diff.added.size + diff.changed.size + diff.removed.size);
    this.#size.set(this.#applied.size, this.#labels);
    this.#duration.observe((performance.now() - started) / 1000, this.#labels);
    return undefined;
  }

  #remember(unit: string, plan: Plan<V>): void {
    const [first, ...rest] = plan.keys();
    if (first === undefined) this.#keysOfUnit.delete(unit);
    else this.#keysOfUnit.set(unit, rest.length === 0 ? first : [first, ...rest]);
  }

  #wakeTried(): void {
    const idle = this.#dirty.size === 0 || this.#stopped;
    this.#triedWaiters = this.#triedWaiters.filter((waiter) => {
      waiter.runs -= 1;
      if (waiter.runs > 0 && !idle) return true;
      waiter.resolve();
      return false;
    });
  }

  #wake(): void {
    for (const resolve of this.#idleWaiters.splice(0)) resolve();
  }
}
