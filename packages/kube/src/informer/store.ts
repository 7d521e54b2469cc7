import { CompactMap, KeyIndex } from '@weft/plan';

/** Index values of an object: none, one or several. */
export type IndexFunction<T> = (object: T) => readonly string[] | string | undefined;

interface Index<T> {
  readonly valuesOf: IndexFunction<T>;
  /** A value's keys. One key is kept bare: most values have one, and a Set costs more than many objects. */
  readonly keys: CompactMap<string | Set<string>>;
}

/** As a number where that says the same: it takes no memory of its own. */
function packVersion(version: string): string | number {
  return /^[1-9]\d{0,8}$/.test(version) ? Number(version) : version;
}

/** Objects by key, with secondary indexes. */
export class Store<T> {
  readonly #index = new KeyIndex();
  #objects: (T | undefined)[] = [];
  /** The resourceVersions the objects came with; kept here because a slim object may have dropped its own. */
  #versions: (string | number | undefined)[] = [];
  readonly #indexes = new Map<string, Index<T>>();

  get size(): number {
    return this.#index.size;
  }

  get(key: string): T | undefined {
    const at = this.#index.find(key);
    return at < 0 ? undefined : this.#objects[at];
  }

  /** The resourceVersion that `key` is stored with. */
  version(key: string): string | undefined {
    const at = this.#index.find(key);
    return at < 0 ? undefined : String(this.#versions[at]);
  }

  *keys(): IterableIterator<string> {
    for (let at = 0; at < this.#index.end; at++) {
      const key = this.#index.keyAt(at);
      if (key !== undefined) yield key;
    }
  }

  list(): T[] {
    const out: T[] = [];
    for (let at = 0; at < this.#index.end; at++) {
      if (this.#index.keyAt(at) !== undefined) out.push(this.#objects[at] as T);
    }
    return out;
  }

  /** Stores the object and returns the one it replaces. */
  set(key: string, object: T, version: string): T | undefined {
    const found = this.#index.find(key);
    const old = found < 0 ? undefined : (this.#objects[found] as T);
    if (old !== undefined) for (const index of this.#indexes.values()) unindex(index, key, old);
    const at = found < 0 ? this.#index.add(key) : found;
    this.#objects[at] = object;
    this.#versions[at] = packVersion(version);
    for (const index of this.#indexes.values()) addToIndex(index, this.#index.keyAt(at) as string, object);
    return old;
  }

  /** Removes the object and returns it. */
  delete(key: string): T | undefined {
    const at = this.#index.find(key);
    if (at < 0) return undefined;
    const old = this.#objects[at] as T;
    for (const index of this.#indexes.values()) unindex(index, key, old);
    this.#index.remove(key);
    this.#objects[at] = undefined;
    this.#versions[at] = undefined;
    return old;
  }

  /** Adds an index over what is stored and what will be. `valuesOf` must be pure. */
  index(name: string, valuesOf: IndexFunction<T>): void {
    const index: Index<T> = { valuesOf, keys: new CompactMap() };
    this.#indexes.set(name, index);
    for (const key of this.keys()) addToIndex(index, key, this.get(key) as T);
  }

  /** The objects that have `value` in the index; an unknown index is a programming error and throws. */
  byIndex(name: string, value: string): T[] {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new TypeError(`no index "${name}"`);
    const keys = index.keys.get(value);
    if (keys === undefined) return [];
    const out: T[] = [];
    for (const key of typeof keys === 'string' ? [keys] : keys) {
      const object = this.get(key);
      if (object !== undefined) out.push(object);
    }
    return out;
  }
}

function valuesOf<T>(index: Index<T>, object: T): readonly string[] {
  const values = index.valuesOf(object);
  return values === undefined ? [] : typeof values === 'string' ? [values] : values;
}

function addToIndex<T>(index: Index<T>, key: string, object: T): void {
  for (const value of valuesOf(index, object)) {
    const keys = index.keys.get(value);
    if (keys === undefined) index.keys.set(value, key);
    else if (typeof keys !== 'string') keys.add(key);
    else if (keys !== key) index.keys.set(value, new Set([keys, key]));
  }
}

function unindex<T>(index: Index<T>, key: string, object: T): void {
  for (const value of valuesOf(index, object)) {
    const keys = index.keys.get(value);
    if (keys === key) index.keys.delete(value);
    else if (keys !== undefined && typeof keys !== 'string') {
      keys.delete(key);
      if (keys.size === 0) index.keys.delete(value);
    }
  }
}
