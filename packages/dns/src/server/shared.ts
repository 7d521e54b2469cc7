import type { SharedThings } from './plugin.ts';

interface Held {
  readonly value: unknown;
  readonly close: () => void;
  holders: number;
}

/** Things by key, closed when the last holder lets go. */
export class Shared implements SharedThings {
  readonly #held = new Map<string, Held>();

  acquire<T>(
    key: string,
    make: () => { readonly value: T; readonly close: () => void },
  ): { value: T; release: () => void } {
    let held = this.#held.get(key);
    if (held === undefined) {
      held = { ...make(), holders: 0 };
      this.#held.set(key, held);
    }
    const mine = held;
    mine.holders += 1;
    let released = false;
    return {
      value: mine.value as T,
      release: () => {
        if (released) return;
        released = true;
        mine.holders -= 1;
        if (mine.holders > 0) return;
        if (this.#held.get(key) === mine) this.#held.delete(key);
        mine.close();
      },
    };
  }
}
