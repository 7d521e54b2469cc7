import { keyFromText, type NameKey } from '../wire/index.ts';

/** A value per zone, found by the longest zone that holds a name. */
export class ZoneMap<V> {
  readonly #values = new Map<NameKey, V>();
  /** Lengths of the keys that exist: names rarely have a suffix of one of them, and then nothing is hashed. */
  readonly #lengths: boolean[] = [];

  set(zone: string, value: V): void {
    const key = keyFromText(zone);
    this.#values.set(key, value);
    this.#lengths[key.length] = true;
  }

  get(zone: string): V | undefined {
    return this.#values.get(keyFromText(zone));
  }

  get size(): number {
    return this.#values.size;
  }

  /** Value of the longest zone that holds the name, and the offset in `key` at which the zone starts. */
  match(key: NameKey, labels: readonly number[], from = 0): { value: V; offset: number } | undefined {
    for (let i = from; i <= labels.length; i++) {
      const offset = i < labels.length ? (labels[i] as number) : key.length - 1;
      if (this.#lengths[key.length - offset] !== true) continue;
      const value = this.#values.get(offset === 0 ? key : key.slice(offset));
      if (value !== undefined) return { value, offset };
    }
    return undefined;
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
    return this.#map.match(key, labels) !== undefined;
  }
}
