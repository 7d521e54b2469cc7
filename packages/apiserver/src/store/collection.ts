import { Stored, StoreEvent } from './stored.ts';

interface Slot {
  readonly key: string;
  entry: Stored;
}

/** Called in the tick of the commit; must neither throw nor write to the store. */
export type StoreListener = (event: StoreEvent) => void;

/** All objects of one resource in the order of their keys, and the last events. */
export class Collection {
  /** `group/plural`. */
  readonly id: string;
  readonly #slots = new Map<string, Slot>();
  readonly #listeners = new Set<StoreListener>();
  readonly #capacity: number;
  #sorted: Slot[] = [];
  #unsorted = false;
  /** Ring of the last events. */
  #events: StoreEvent[] = [];
  #first = 0;
  #floor: number;
  #bytes = 0;

  constructor(id: string, floor: number, capacity: number) {
    this.id = id;
    this.#floor = floor;
    this.#capacity = capacity;
  }

  get size(): number {
    return this.#slots.size;
  }

  /** Bytes of JSON of all objects. */
  get bytes(): number {
    return this.#bytes;
  }

  get(key: string): Stored | undefined {
    return this.#slots.get(key)?.entry;
  }

  /** All objects, or those of one namespace, in key order. */
  list(namespace?: string): Stored[] {
    const sorted = this.#order();
    if (namespace === undefined) return sorted.map((slot) => slot.entry);
    const prefix = `${namespace}/`;
    const out: Stored[] = [];
    for (let i = position(sorted, prefix); i < sorted.length; i++) {
      const slot = sorted[i] as Slot;
      if (!slot.key.startsWith(prefix)) break;
      out.push(slot.entry);
    }
    return out;
  }

  subscribe(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Events after `rv`, oldest first; undefined when some of them are no longer kept. */
  since(rv: number): StoreEvent[] | undefined {
    if (rv < this.#floor) return undefined;
    const ordered = [...this.#events.slice(this.#first), ...this.#events.slice(0, this.#first)];
    let at = ordered.length;
    while (at > 0 && (ordered[at - 1] as StoreEvent).rv > rv) at--;
    return ordered.slice(at);
  }

  /** Watches from below it are expired. */
  get floor(): number {
    return this.#floor;
  }

  /** Sets the state without an event, when loading a snapshot. */
  load(entry: Stored, bytes: number): void {
    this.#slots.set(entry.key, { key: entry.key, entry });
    this.#bytes += bytes;
    this.#unsorted = true;
  }

  /** Applies a change and tells the listeners. */
  apply(event: StoreEvent): void {
    const { key } = event.current;
    const slot = this.#slots.get(key);
    if (event.type === 'DELETED') {
      if (slot !== undefined) {
        this.#slots.delete(key);
        if (!this.#unsorted) this.#sorted.splice(position(this.#sorted, key), 1);
        this.#bytes -= slot.entry.json.length;
      }
    } else {
      this.#bytes += event.current.json.length - (slot?.entry.json.length ?? 0);
      if (slot !== undefined) slot.entry = event.current;
      else this.#insert({ key, entry: event.current });
    }
    this.#remember(event);
    for (const listener of this.#listeners) listener(event);
  }

  #insert(slot: Slot): void {
    this.#slots.set(slot.key, slot);
    if (this.#unsorted) return;
    const last = this.#sorted.at(-1);
    if (last === undefined || last.key < slot.key) this.#sorted.push(slot);
    else this.#sorted.splice(position(this.#sorted, slot.key), 0, slot);
  }

  #order(): Slot[] {
    if (this.#unsorted) {
      this.#sorted = [...this.#slots.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
      this.#unsorted = false;
    }
    return this.#sorted;
  }

  #remember(event: StoreEvent): void {
    if (this.#events.length < this.#capacity) this.#events.push(event);
    else {
      this.#floor = (this.#events[this.#first] as StoreEvent).rv;
      this.#events[this.#first] = event;
      this.#first = (this.#first + 1) % this.#capacity;
    }
  }
}

/** Index of the first slot whose key is not below `key`. */
function position(sorted: readonly Slot[], key: string): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((sorted[middle] as Slot).key < key) low = middle + 1;
    else high = middle;
  }
  return low;
}
