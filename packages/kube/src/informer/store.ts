/** Index values of an object: none, one or several. */
export type IndexFunction<T> = (object: T) => readonly string[] | string | undefined;

interface Entry<T> {
  readonly object: T;
  /** The resourceVersion the object came with; kept here because a slim object may have dropped it. */
  readonly version: string;
}

interface Index<T> {
  readonly valuesOf: IndexFunction<T>;
  /** A value's keys. One key is kept bare: most values have one, and a Set costs more than many objects. */
  readonly keys: Map<string, string | Set<string>>;
}

/** Objects by key, with secondary indexes. */
export class Store<T> {
  readonly #entries = new Map<string, Entry<T>>();
  readonly #indexes = new Map<string, Index<T>>();

  get size(): number {
    return this.#entries.size;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key)?.object;
  }

  /** The resourceVersion that `key` is stored with. */
  version(key: string): string | undefined {
    return this.#entries.get(key)?.version;
  }

  keys(): IterableIterator<string> {
    return this.#entries.keys();
  }

  list(): T[] {
    const out: T[] = [];
    for (const entry of this.#entries.values()) out.push(entry.object);
    return out;
  }

  /** Stores the object and returns the one it replaces. */
  set(key: string, object: T, version: string): T | undefined {
    const old = this.#entries.get(key);
    if (old !== undefined) for (const index of this.#indexes.values()) unindex(index, key, old.object);
    this.#entries.set(key, { object, version });
    for (const index of this.#indexes.values()) addToIndex(index, key, object);
    return old?.object;
  }

  /** Removes the object and returns it. */
  delete(key: string): T | undefined {
    const old = this.#entries.get(key);
    if (old === undefined) return undefined;
    for (const index of this.#indexes.values()) unindex(index, key, old.object);
    this.#entries.delete(key);
    return old.object;
  }

  /** Adds an index over what is stored and what will be. `valuesOf` must be pure. */
  index(name: string, valuesOf: IndexFunction<T>): void {
    const index: Index<T> = { valuesOf, keys: new Map() };
    this.#indexes.set(name, index);
    for (const [key, entry] of this.#entries) addToIndex(index, key, entry.object);
  }

  /** The objects that have `value` in the index; an unknown index is a programming error and throws. */
  byIndex(name: string, value: string): T[] {
    const index = this.#indexes.get(name);
    if (index === undefined) throw new TypeError(`no index "${name}"`);
    const keys = index.keys.get(value);
    if (keys === undefined) return [];
    const out: T[] = [];
    for (const key of typeof keys === 'string' ? [keys] : keys) {
      const entry = this.#entries.get(key);
      if (entry !== undefined) out.push(entry.object);
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
