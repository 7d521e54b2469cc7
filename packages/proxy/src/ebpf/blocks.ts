/** Milliseconds that elements rest before they are used again: a program may have read where they are, and not them. */
const REST_MS = 1000;

/**
 * Places of runs of elements in an array: each run lies in one piece. Freed runs are used again for runs of the same length
 * when they have rested.
 */
export class Blocks {
  readonly capacity: number;
  #end = 0;
  readonly #free = new Map<number, number[]>();
  #resting: { readonly at: number; readonly length: number; readonly since: number }[] = [];

  constructor(capacity: number) {
    this.capacity = capacity;
  }

  /** The first element of a run; undefined when there is no room. `now` in ms. */
  take(length: number, now: number): number | undefined {
    this.#settle(now);
    const again = this.#free.get(length)?.pop();
    if (again !== undefined) return again;
    if (this.#end + length > this.capacity) return undefined;
    const at = this.#end;
    this.#end += length;
    return at;
  }

  give(at: number, length: number, now: number): void {
    this.#resting.push({ at, length, since: now });
  }

  #settle(now: number): void {
    let rested = 0;
    while (rested < this.#resting.length && (this.#resting[rested]?.since ?? now) + REST_MS <= now) rested += 1;
    for (const { at, length } of this.#resting.splice(0, rested)) {
      const list = this.#free.get(length);
      if (list === undefined) this.#free.set(length, [at]);
      else list.push(at);
    }
  }
}
