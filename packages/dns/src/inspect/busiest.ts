/**
 * Counts of the busiest keys in bounded memory. When too many keys are known, the rarer half is given up and counted as
 * `forgotten` (as Misra and Gries do in one pass); what is kept has an exact count from the time it was last new.
 */
export class Busiest<C extends { count: number }> {
  readonly #capacity: number;
  readonly #make: () => C;
  readonly #cells = new Map<string, C>();
  /** Sum of the counts that were given up. */
  forgotten = 0;

  /** Keeps between `capacity` and twice as many keys. */
  constructor(capacity: number, make: () => C) {
    this.#capacity = capacity;
    this.#make = make;
  }

  /** The counters of a key. */
  cell(key: string): C {
    let cell = this.#cells.get(key);
    if (cell === undefined) {
      if (this.#cells.size >= 2 * this.#capacity) this.#prune();
      cell = this.#make();
      this.#cells.set(key, cell);
    }
    return cell;
  }

  get size(): number {
    return this.#cells.size;
  }

  /** The busiest keys, busiest first. */
  top(limit: number): { key: string; cell: C }[] {
    return this.#sorted().slice(0, limit);
  }

  #sorted(): { key: string; cell: C }[] {
    return [...this.#cells].map(([key, cell]) => ({ key, cell })).sort((a, b) => b.cell.count - a.cell.count);
  }

  #prune(): void {
    for (const { key, cell } of this.#sorted().slice(this.#capacity)) {
      this.forgotten += cell.count;
      this.#cells.delete(key);
    }
  }
}
