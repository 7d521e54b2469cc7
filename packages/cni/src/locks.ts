/** Runs work one at a time per key; work of different keys overlaps. `exclusive` waits for all and holds off the rest. */
export class Locks {
  readonly #tails = new Map<string, Promise<void>>();
  #active = 0;
  #exclusive: Promise<void> | undefined;
  #drained: (() => void) | undefined;

  async keyed<T>(key: string, work: () => Promise<T>): Promise<T> {
    while (this.#exclusive !== undefined) await this.#exclusive;
    this.#active += 1;
    const before = this.#tails.get(key);
    const run = before === undefined ? work() : before.then(work);
    const tail = run.then(
      () => {},
      () => {},
    );
    this.#tails.set(key, tail);
    try {
      return await run;
    } finally {
      if (this.#tails.get(key) === tail) this.#tails.delete(key);
      this.#active -= 1;
      if (this.#active === 0) this.#drained?.();
    }
  }

  async exclusive<T>(work: () => Promise<T>): Promise<T> {
    while (this.#exclusive !== undefined) await this.#exclusive;
    let open: () => void = () => {};
    this.#exclusive = new Promise((resolve) => {
      open = resolve;
    });
    if (this.#active > 0) {
      await new Promise<void>((resolve) => {
        this.#drained = resolve;
      });
      this.#drained = undefined;
    }
    try {
      return await work();
    } finally {
      this.#exclusive = undefined;
      open();
    }
  }
}
