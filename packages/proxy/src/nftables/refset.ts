import type { Packed } from '../model/packed.ts';

const FREE = 0;
const GONE = -1;

/** Counts per IPv4 address: packed addresses as integers, without an object each. */
class AddressCounts {
  #keys = new Int32Array(16);
  /** FREE, GONE or a count. */
  #counts = new Int32Array(16);
  #used = 0;
  size = 0;

  get(key: number): number {
    const at = this.#find(key);
    return at < 0 ? 0 : (this.#counts[at] as number);
  }

  /** A count of 0 removes the address. */
  set(key: number, count: number): void {
    const at = this.#find(key);
    if (at >= 0) {
      if (count === 0) this.size -= 1;
      this.#counts[at] = count === 0 ? GONE : count;
    } else if (count > 0) {
      if ((this.#used + 1) * 4 > this.#keys.length * 3) this.#rehash();
      this.#insert(key, count);
      this.size += 1;
    }
  }

  #find(key: number): number {
    const mask = this.#keys.length - 1;
    for (let at = spread(key) & mask; ; at = (at + 1) & mask) {
      const count = this.#counts[at];
      if (count === FREE) return -1;
      if (count !== GONE && this.#keys[at] === key) return at;
    }
  }

  #insert(key: number, count: number): void {
    const mask = this.#keys.length - 1;
    let at = spread(key) & mask;
    while (this.#counts[at] !== FREE) at = (at + 1) & mask;
    this.#keys[at] = key;
    this.#counts[at] = count;
    this.#used += 1;
  }

  #rehash(): void {
    const [keys, counts] = [this.#keys, this.#counts];
    let length = 16;
    while (this.size * 2 >= length) length *= 2;
    this.#keys = new Int32Array(length);
    this.#counts = new Int32Array(length);
    this.#used = 0;
    counts.forEach((count, at) => {
      if (count > 0) this.#insert(keys[at] as number, count);
    });
  }
}

/** Addresses of a cluster differ in their last bits. */
function spread(key: number): number {
  const h = Math.imul(key, 0x9e3779b1);
  return h ^ (h >>> 15);
}

/** Counts per packed address of either family. */
class Counts {
  readonly #short = new AddressCounts();
  readonly #long = new Map<Packed, number>();

  get size(): number {
    return this.#short.size + this.#long.size;
  }

  get(member: Packed): number {
    return member.length === 4 ? this.#short.get(integer(member)) : (this.#long.get(member) ?? 0);
  }

  set(member: Packed, count: number): void {
    if (member.length === 4) this.#short.set(integer(member), count);
    else if (count === 0) this.#long.delete(member);
    else this.#long.set(member, count);
  }
}

function integer(packed: Packed): number {
  return (
    (packed.charCodeAt(0) << 24) | (packed.charCodeAt(1) << 16) | (packed.charCodeAt(2) << 8) | packed.charCodeAt(3)
  );
}

/** Members of a set of the kernel with the number of service ports that need each. Changes are gathered per batch. */
export class RefSet {
  readonly #counts = new Counts();
  /** Members touched in this batch, and whether the kernel has them. */
  readonly #touched = new Map<Packed, boolean>();
  /** Members found in the kernel that nothing has asked for yet. */
  #found: Set<Packed> | undefined;

  get size(): number {
    return this.#counts.size;
  }

  has(member: Packed): boolean {
    return this.#counts.get(member) > 0;
  }

  adopt(found: Set<Packed>): void {
    this.#found = found;
  }

  add(member: Packed): void {
    const count = this.#counts.get(member);
    if (count === 0) this.#touch(member, this.#found?.delete(member) ?? false);
    this.#counts.set(member, count + 1);
  }

  release(member: Packed): void {
    const count = this.#counts.get(member);
    if (count > 1) {
      this.#counts.set(member, count - 1);
      return;
    }
    if (count === 1) this.#touch(member, true);
    this.#counts.set(member, 0);
  }

  /** Calls back for every member that the kernel must get or lose. With `adopted`, found members nobody wants go too. */
  finish(adopted: boolean, add: (member: Packed) => void, remove: (member: Packed) => void): void {
    for (const [member, present] of this.#touched) {
      const wanted = this.has(member);
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
