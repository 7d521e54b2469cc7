/** When a worker looks at its pod again: soon, or at a time. Many calls are one look. */
export class Wake {
  readonly #look: () => void;
  #timer: NodeJS.Timeout | undefined;
  #timerAt = Number.POSITIVE_INFINITY;
  #queued: NodeJS.Immediate | undefined;
  #closed = false;

  constructor(look: () => void) {
    this.#look = look;
  }

  soon(): void {
    if (this.#closed) return;
    this.#queued ??= setImmediate(() => {
      this.#queued = undefined;
      this.#look();
    });
  }

  /** Looks at `at` (milliseconds since the epoch) or before. */
  at(at: number): void {
    if (this.#closed || at >= this.#timerAt) return;
    clearTimeout(this.#timer);
    this.#timerAt = at;
    const wait = Math.max(0, Math.min(at - Date.now(), 0x7fffffff));
    this.#timer = setTimeout(() => {
      this.#timerAt = Number.POSITIVE_INFINITY;
      this.soon();
    }, wait);
  }

  /** Forgets the time that was set; `soon` goes on. */
  noTime(): void {
    clearTimeout(this.#timer);
    this.#timerAt = Number.POSITIVE_INFINITY;
  }

  close(): void {
    this.#closed = true;
    this.noTime();
    if (this.#queued !== undefined) clearImmediate(this.#queued);
  }
}
