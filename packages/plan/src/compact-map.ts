/**
 * String keys by dense position, in about half the memory of a `Map`: an open-addressed index of 32-bit positions over a
 * list of keys. Positions of removed keys are given out again, so what is kept beside it in lists stays dense.
 */
export class KeyIndex {
  /** Position + 1; 0 is empty, `GONE` was removed. */
  #slots = new Int32Array(16);
  #keys: (string | undefined)[] = [];
  #free: number[] = [];
  #size = 0;
  /** Slots that are not empty, removed ones included. */
  #used = 0;

  get size(): number {
    return this.#size;
  }

  /** One more than the highest position in use. */
  get end(): number {
    return this.#keys.length;
  }

  /** Position of the key, or -1. */
  find(key: string): number {
    const mask = this.#slots.length - 1;
    for (let at = hash(key) & mask; ; at = (at + 1) & mask) {
      const slot = this.#slots[at] as number;
      if (slot === 0) return -1;
      if (slot !== GONE && this.#keys[slot - 1] === key) return slot - 1;
    }
  }

  keyAt(position: number): string | undefined {
    return this.#keys[position];
  }

  /** Adds a key that is not there, and returns its position. */
  add(key: string): number {
    if ((this.#used + 1) * 4 > this.#slots.length * 3) this.#rehash();
    const position = this.#free.pop() ?? this.#keys.length;
    this.#keys[position] = key;
    this.#size += 1;
    this.#used += 1;
    this.#place(key, position);
    return position;
  }

  /** Removes a key and returns the position it had, or -1. */
  remove(key: string): number {
    const mask = this.#slots.length - 1;
    for (let at = hash(key) & mask; ; at = (at + 1) & mask) {
      const slot = this.#slots[at] as number;
      if (slot === 0) return -1;
      const position = slot - 1;
      if (slot === GONE || this.#keys[position] !== key) continue;
      this.#slots[at] = GONE;
      this.#keys[position] = undefined;
      this.#free.push(position);
      this.#size -= 1;
      if (this.#size === 0) this.clear();
      return position;
    }
  }

  clear(): void {
    this.#slots = new Int32Array(16);
    this.#keys = [];
    this.#free = [];
    this.#size = 0;
    this.#used = 0;
  }

  #place(key: string, position: number): void {
    const mask = this.#slots.length - 1;
    let at = hash(key) & mask;
    while (this.#slots[at] !== 0) at = (at + 1) & mask;
    this.#slots[at] = position + 1;
  }

  #rehash(): void {
    let length = 16;
    while (this.#size * 2 >= length) length *= 2;
    this.#slots = new Int32Array(length);
    this.#used = this.#size;
    this.#keys.forEach((key, position) => {
      if (key !== undefined) this.#place(key, position);
    });
  }
}

const GONE = -1;

/** FNV-1a over the code units. */
function hash(key: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < key.length; i++) h = Math.imul(h ^ key.charCodeAt(i), 0x01000193);
  return h ^ (h >>> 15);
}

/**
 * A map for the many thousands of entries that a daemon holds for as long as it lives, in about half the memory of a
 * `Map`. Entries come in no order that means anything. An entry may be removed or replaced while others are visited.
 */
export class CompactMap<V> implements ReadonlyMap<string, V> {
  readonly #index = new KeyIndex();
  #values: (V | undefined)[] = [];

  get size(): number {
    return this.#index.size;
  }

  get(key: string): V | undefined {
    const position = this.#index.find(key);
    return position < 0 ? undefined : this.#values[position];
  }

  has(key: string): boolean {
    return this.#index.find(key) >= 0;
  }

  set(key: string, value: V): this {
    const found = this.#index.find(key);
    const position = found < 0 ? this.#index.add(key) : found;
    this.#values[position] = value;
    return this;
  }

  delete(key: string): boolean {
    const position = this.#index.remove(key);
    if (position < 0) return false;
    if (this.#index.size === 0) this.#values = [];
    else this.#values[position] = undefined;
    return true;
  }

  clear(): void {
    this.#index.clear();
    this.#values = [];
  }

  forEach(visit: (value: V, key: string, map: ReadonlyMap<string, V>) => void): void {
    for (const [key, value] of this) visit(value, key, this);
  }

  *entries(): MapIterator<[string, V]> {
    for (let position = 0; position < this.#index.end; position++) {
      const key = this.#index.keyAt(position);
      if (key !== undefined) yield [key, this.#values[position] as V];
    }
  }

  *keys(): MapIterator<string> {
    for (let position = 0; position < this.#index.end; position++) {
      const key = this.#index.keyAt(position);
      if (key !== undefined) yield key;
    }
  }

  *values(): MapIterator<V> {
    for (let position = 0; position < this.#index.end; position++) {
      if (this.#index.keyAt(position) !== undefined) yield this.#values[position] as V;
    }
  }

  [Symbol.iterator](): MapIterator<[string, V]> {
    return this.entries();
  }
}

/** A copy of a string that is one piece: text that was joined or cut keeps the texts it came from alive. */
export function flatten(text: string): string {
  // Shorter ones are copied when they are made.
  if (text.length < 13) return text;
  const copy = Buffer.from(text, 'utf8').toString('utf8');
  // Half a surrogate pair has no UTF-8.
  return copy === text ? copy : text;
}
