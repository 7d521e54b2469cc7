/** One line of `weft up`. */
export interface PhaseReport {
  readonly phase: string;
  readonly detail: string;
  /** Milliseconds that the phase took. */
  readonly ms: number;
}

/** What the supervisor tells whoever started the cluster. */
export type ProgressEvent =
  | { readonly type: 'phase'; readonly report: PhaseReport }
  | { readonly type: 'note'; readonly text: string }
  | {
      readonly type: 'failed';
      readonly error: { readonly code: string; readonly message: string; readonly hint?: string | undefined };
    }
  | { readonly type: 'ready' };

/** Keeps every event for late listeners and passes new ones on. */
export class Progress {
  readonly #events: ProgressEvent[] = [];
  readonly #listeners = new Set<(event: ProgressEvent) => void>();

  emit(event: ProgressEvent): void {
    this.#events.push(event);
    for (const listener of this.#listeners) listener(event);
  }

  /** Runs one phase and reports it with its time. */
  async phase<T>(name: string, run: () => Promise<{ detail: string; value: T }>): Promise<T> {
    const began = performance.now();
    const { detail, value } = await run();
    this.emit({ type: 'phase', report: { phase: name, detail, ms: performance.now() - began } });
    return value;
  }

  /** Replays what has been, then follows. Returns the way to stop. */
  follow(listener: (event: ProgressEvent) => void): () => void {
    for (const event of this.#events) listener(event);
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  get finished(): boolean {
    return this.#events.some((e) => e.type === 'ready' || e.type === 'failed');
  }
}
