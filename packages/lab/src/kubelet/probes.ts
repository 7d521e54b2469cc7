import type { Probe } from '@weft/kube';

/** The outcome of asking once. */
export interface ProbeResult {
  readonly ok: boolean;
  /** What an event says; empty for a success without remark. */
  readonly message: string;
}

export type ProbeKind = 'liveness' | 'readiness' | 'startup';

export interface ProberOptions {
  readonly kind: ProbeKind;
  readonly probe: Probe;
  /** When the container was started; milliseconds since the epoch. */
  readonly startedAt: number;
  /** Asks once. Must not throw. */
  readonly ask: () => Promise<ProbeResult>;
  /** False holds the probe: a container that has not started yet is asked by its startup probe only. */
  readonly enabled: () => boolean;
  /** The thresholds were crossed: called with the new verdict, first with the first one reached. */
  readonly onChange: (ok: boolean) => void;
  readonly onFailure: (message: string) => void;
  /** Milliseconds since the epoch. */
  readonly now?: () => number;
}

/** For this long after its start a container that is not ready yet is asked more often, in milliseconds. */
const EAGER_FOR = 2000;
const EAGER_STEP = 50;

/**
 * Asks a container again and again and counts successes and failures (kubelet's prober). A new container without an
 * initial delay is asked readiness and startup in quick succession at first, and those failures do not count: a server
 * that listens after 20 ms should not have to wait for the next period.
 */
export class Prober {
  readonly #options: ProberOptions;
  readonly #now: () => number;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  #held = false;
  #last: boolean | undefined;
  #run = 0;
  #verdict: boolean | undefined;

  constructor(options: ProberOptions) {
    this.#options = options;
    this.#now = options.now ?? Date.now;
  }

  get kind(): ProbeKind {
    return this.#options.kind;
  }

  start(): void {
    const delay = (this.#options.probe.initialDelaySeconds ?? 0) * 1000;
    this.#schedule(Math.max(0, this.#options.startedAt + delay - this.#now()));
  }

  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #schedule(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#tick(), ms);
    this.#timer.unref();
  }

  async #tick(): Promise<void> {
    const { probe, kind, ask, enabled, onFailure } = this.#options;
    const period = (probe.periodSeconds ?? 10) * 1000;
    if (this.#held) return;
    const startedAt = this.#now();
    if (!enabled()) return this.#schedule(Math.min(period, EAGER_STEP * 2));
    const result = await ask();
    if (this.#stopped) return;
    const now = this.#now();
    const age = now - this.#options.startedAt;
    const eager =
      !result.ok &&
      kind !== 'liveness' &&
      this.#verdict === undefined &&
      probe.exec === undefined &&
      (probe.initialDelaySeconds ?? 0) === 0 &&
      age < Math.min(EAGER_FOR, period);
    if (eager) return this.#schedule(EAGER_STEP);
    if (!result.ok) onFailure(result.message);
    this.#count(result.ok);
    this.#schedule(Math.max(0, period - (now - startedAt)));
  }

  #count(ok: boolean): void {
    const { probe, kind, onChange } = this.#options;
    if (this.#last === ok) this.#run += 1;
    else {
      this.#last = ok;
      this.#run = 1;
    }
    const threshold = ok ? (probe.successThreshold ?? 1) : (probe.failureThreshold ?? 3);
    if (this.#run < threshold) return;
    // One that is to be killed, or that has started, is not asked again.
    if ((kind !== 'readiness' && !ok) || (kind === 'startup' && ok)) this.#held = true;
    if (this.#verdict === ok) return;
    this.#verdict = ok;
    onChange(ok);
  }
}
