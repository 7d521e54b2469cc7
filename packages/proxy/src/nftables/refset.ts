import type { Packed } from '../model/packed.ts';

/** Members of a set of the kernel with the number of service ports that need each. Changes are gathered per batch. */
export class RefSet {
  readonly #counts = new Map<Packed, number>();
  /** Members touched in this batch, and whether the kernel has them. */
  readonly #touched = new Map<Packed, boolean>();
  /** Members found in the kernel that nothing has asked for yet. */
  #found: Set<Packed> | undefined;

  get size(): number {
    return this.#counts.size;
  }

  has(member: Packed): boolean {
    return this.#counts.has(member);
  }

  adopt(found: Set<Packed>): void {
    this.#found = found;
  }

  add(member: Packed): void {
    const count = this.#counts.get(member) ?? 0;
    if (count === 0) this.#touch(member, this.#found?.delete(member) ?? false);
    this.#counts.set(member, count + 1);
  }

  release(member: Packed): void {
    const count = this.#counts.get(member) ?? 0;
    if (count > 1) {
      this.#counts.set(member, count - 1);
      return;
    }
    if (count === 1) this.#touch(member, true);
    this.#counts.delete(member);
  }

  /** Calls back for every member that the kernel must get or lose. With `adopted`, found members nobody wants go too. */
  finish(adopted: boolean, add: (member: Packed) => void, remove: (member: Packed) => void): void {
    for (const [member, present] of this.#touched) {
      const wanted = this.#counts.has(member);
      if (wanted && !present) add(member);
      else if (!wanted && present) remove(member);
    }
    this.#touched.clear();
    if (adopted && this.#found !== undefined) {
      for (const member of this.#found) remove(member);
      this.#found = undefined;
    }
  }

  #touch(member: Packed, present: boolean): void {
    if (!this.#touched.has(member)) this.#touched.set(member, present);
  }
}
