/** Exponential back-off with jitter: each delay is between half and the whole of min(cap, first × 2ⁿ). */
export class Backoff {
  readonly #first: number;
  readonly #cap: number;
  readonly #random: () => number;
  #failures = 0;

  /** Milliseconds. */
  constructor(first = 50, cap = 10_000, random: () => number = Math.random) {
    this.#first = first;
    this.#cap = cap;
    this.#random = random;
  }

  /** The delay before the next try, in milliseconds. */
  next(): number {
    const full = Math.min(this.#cap, this.#first * 2 ** Math.min(this.#failures, 30));
    this.#failures++;
    return full * (0.5 + this.#random() / 2);
  }

  reset(): void {
    this.#failures = 0;
  }
}
