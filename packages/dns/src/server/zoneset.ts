import { keyFromText, keyToText, type NameKey } from '../wire/index.ts';

/** Up to so many zones, comparing them one by one is faster than cutting the name and hashing the pieces. */
const FEW = 8;

interface Entry<V> {
  readonly key: NameKey;
  value: V;
}

/** A value per zone, found by the longest zone that holds a name. */
export class ZoneMap<V> {
  readonly #values = new Map<NameKey, Entry<V>>();
  /** Longest zones first; only used while they are few. */
  #few: Entry<V>[] = [];
  /** Lengths of the keys that exist: names rarely have a suffix of one of them, and then nothing is hashed. */
  readonly #lengths: boolean[] = [];

  set(zone: string, value: V): void {
    const key = keyFromText(zone);
    const entry = this.#values.get(key);
    if (entry !== undefined) {
      entry.value = value;
      return;
    }
    this.#values.set(key, { key, value });
    this.#lengths[key.length] = true;
    this.#few = [...this.#values.values()].sort((a, b) => b.key.length - a.key.length);
  }

  /** All zones with their values. */
  *entries(): IterableIterator<[NameKey, V]> {
    for (const { key, value } of this.#values.values()) yield [key, value];
  }

  /** The zones in text. */
  *names(): IterableIterator<string> {
    for (const key of this.#values.keys()) yield keyToText(key);
  }

  get(zone: string): V | undefined {
    return this.#values.get(keyFromText(zone))?.value;
  }

  /** Offset in `key` at which the longest zone that holds the name starts, not before label `from`; -1 for none. */
  find(key: NameKey, labels: readonly number[], from = 0): number {
    if (this.#few.length > FEW) return this.#findHashed(key, labels, from);
    const earliest = from < labels.length ? (labels[from] as number) : key.length - 1;
    for (let i = 0; i < this.#few.length; i++) {
      const zone = (this.#few[i] as Entry<V>).key;
      const offset = key.length - zone.length;
      if (offset < earliest || !key.endsWith(zone)) continue;
      // The bytes of a zone inside a label are not the zone.
      if (offset === key.length - 1 || labels.includes(offset)) return offset;
    }
    return -1;
  }

  /** The value of the zone that starts at an offset that `find` gave. */
  at(key: NameKey, offset: number): V {
    if (this.#few.length > FEW) return (this.#values.get(key.slice(offset)) as Entry<V>).value;
    for (let i = 0; i < this.#few.length; i++) {
      const entry = this.#few[i] as Entry<V>;
      // `find` compared the bytes: zones of one length are told apart by comparing again.
      if (entry.key.length === key.length - offset && key.endsWith(entry.key)) return entry.value;
    }
    throw new RangeError(`no zone at ${offset}`);
  }

  /** Value of the longest zone that holds the name, and the offset in `key` at which the zone starts. */
  match(key: NameKey, labels: readonly number[], from = 0): { value: V; offset: number } | undefined {
    const offset = this.find(key, labels, from);
    return offset < 0 ? undefined : { value: this.at(key, offset), offset };
  }

  #findHashed(key: NameKey, labels: readonly number[], from: number): number {
    for (let i = from; i <= labels.length; i++) {
      const offset = i < labels.length ? (labels[i] as number) : key.length - 1;
      if (this.#lengths[key.length - offset] === true && this.#values.has(key.slice(offset))) return offset;
    }
    return -1;
  }
}

/** A set of zones. */
export class ZoneSet {
  readonly zones: readonly string[];
  readonly #map = new ZoneMap<string>();

  constructor(zones: readonly string[]) {
    this.zones = zones;
    for (const zone of zones) this.#map.set(zone, zone);
  }

  /** The longest zone that holds the name. */
  match(key: NameKey, labels: readonly number[]): string | undefined {
    return this.#map.match(key, labels)?.value;
  }

  has(key: NameKey, labels: readonly number[]): boolean {
    return this.#map.find(key, labels) >= 0;
  }
}
