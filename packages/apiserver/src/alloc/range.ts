/**
 * Hands out numbers 0…size-1 to named owners, each at most once.
 *
 * The first `reserved` numbers are the static band: `next` takes from the numbers above it first and goes down into it only
 * when nothing else is free, so that an address somebody writes by hand is unlikely to be taken (KEP-3070, KEP-3668).
 * `next` walks on from where it was, so a number that was just released is the last one to come back.
 */
export class BandedRange {
  readonly #size: number;
  readonly #reserved: number;
  readonly #owners = new Map<number, string>();
  #usedReserved = 0;
  #cursor: number;

  constructor(size: number, reserved: number) {
    this.#size = size;
    this.#reserved = reserved;
    this.#cursor = reserved;
  }

  get free(): number {
    return this.#size - this.#owners.size;
  }

  ownerOf(n: number): string | undefined {
    return this.#owners.get(n);
  }

  /** False when the number belongs to another owner (it stays theirs). */
  take(n: number, owner: string): boolean {
    const holder = this.#owners.get(n);
    if (holder !== undefined) return holder === owner;
    this.#owners.set(n, owner);
    if (n < this.#reserved) this.#usedReserved += 1;
    return true;
  }

  /** Takes a number nobody holds; undefined when the range is full. */
  next(owner: string): number | undefined {
    const usedUpper = this.#owners.size - this.#usedReserved;
    const n =
      usedUpper < this.#size - this.#reserved
        ? this.#scan(this.#reserved, this.#size, this.#cursor)
        : this.#scan(0, this.#reserved, 0);
    if (n === undefined) return undefined;
    this.take(n, owner);
    if (n >= this.#reserved) this.#cursor = n + 1;
    return n;
  }

  /** Gives a number back; does nothing when it belongs to somebody else. */
  release(n: number, owner: string): void {
    if (this.#owners.get(n) !== owner) return;
    this.#owners.delete(n);
    if (n < this.#reserved) this.#usedReserved -= 1;
  }

  clear(): void {
    this.#owners.clear();
    this.#usedReserved = 0;
    this.#cursor = this.#reserved;
  }

  #scan(low: number, high: number, start: number): number | undefined {
    const from = start >= low && start < high ? start : low;
    for (let n = from; n < high; n++) if (!this.#owners.has(n)) return n;
    for (let n = low; n < from; n++) if (!this.#owners.has(n)) return n;
    return undefined;
  }
}
