import { endianness } from 'node:os';
import type { Family } from '@weft/net';
import { ELEMENT_SETS, type ElementSet, widths } from './layout.ts';
import type { ChainText } from './rules.ts';

const LITTLE = endianness() === 'LE';
const NOTHING = new Uint8Array(0);
const NO_VIEW = new DataView(NOTHING.buffer);

/**
 * A list of equally wide elements (key, then data) as one growing buffer in register form: fields padded to 4 bytes,
 * addresses and ports in network order, numbers in host order. A cold start writes over 100,000 of them.
 */
export class ElementList {
  readonly keyWidth: number;
  readonly dataWidth: number;
  /** By element; only where something was given. */
  comments: (string | undefined)[] | undefined;
  // Most lists of most changes stay empty.
  #bytes = NOTHING;
  #view = NO_VIEW;
  #length = 0;

  constructor(keyWidth: number, dataWidth: number) {
    this.keyWidth = keyWidth;
    this.dataWidth = dataWidth;
  }

  get width(): number {
    return this.keyWidth + this.dataWidth;
  }

  get count(): number {
    return this.#length / this.width;
  }

  /** A number in host order. */
  u32(value: number): this {
    this.#room(4);
    this.#view.setUint32(this.#length, value, LITTLE);
    this.#length += 4;
    return this;
  }

  /** Packed bytes, padded to 4. */
  packed(text: string): this {
    const size = (text.length + 3) & ~3;
    this.#room(size);
    for (let i = 0; i < text.length; i++) this.#bytes[this.#length + i] = text.charCodeAt(i);
    this.#bytes.fill(0, this.#length + text.length, this.#length + size);
    this.#length += size;
    return this;
  }

  /** A packed endpoint: address, then padded port. */
  endpoint(packed: string): this {
    return this.packed(packed.slice(0, -2)).packed(packed.slice(-2));
  }

  /** A frontend key: address (if any), protocol, port, each padded. */
  frontend(key: string): this {
    const at = key.length - 3;
    if (at > 0) this.packed(key.slice(0, at));
    return this.packed(key.slice(at, at + 1)).packed(key.slice(at + 1));
  }

  /** Names the element that was written last. */
  comment(text: string): void {
    this.comments ??= [];
    this.comments[this.count - 1] = text;
  }

  key(index: number): Uint8Array {
    const at = index * this.width;
    return this.#bytes.subarray(at, at + this.keyWidth);
  }

  data(index: number): Uint8Array {
    const at = index * this.width + this.keyWidth;
    return this.#bytes.subarray(at, at + this.dataWidth);
  }

  #room(size: number): void {
    if (this.#length + size <= this.#bytes.length) return;
    const bytes = new Uint8Array(Math.max(64, this.#bytes.length * 2) + size);
    bytes.set(this.#bytes);
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer);
  }
}

/** Changes of one map or set, in the order in which they are written. */
export interface SetChanges {
  /** Keys of elements that get other data: the kernel refuses a second element of the same key. */
  readonly replaced: ElementList;
  readonly added: ElementList;
  /** Keys that no frontend leads to any more once the frontends are written. */
  readonly removed: ElementList;
}

/** A class that packets can be sent to from now on. */
export interface ClassAdd {
  readonly map: 'classes' | 'local-classes';
  readonly number: number;
  /** Chains to create; the last one is the class's own. */
  readonly chains: readonly ChainText[];
}

export interface ClassRemove {
  readonly map: 'classes' | 'local-classes';
  readonly number: number;
  /** Chains to delete, in order. */
  readonly chains: readonly string[];
}

export interface FirewallAdd {
  /** Name of the chain, `fw-…`. */
  readonly chain: string;
  readonly set: string;
  readonly ranges: readonly string[];
}

/** One step of a transaction. `write` deletes the replaced keys and adds; a packet sees it as a whole. */
export type Step =
  | { readonly do: 'addFirewall'; readonly add: FirewallAdd }
  | { readonly do: 'addClass'; readonly add: ClassAdd }
  | { readonly do: 'guard' | 'unguard'; readonly key: string; readonly chain: string }
  | { readonly do: 'write'; readonly set: ElementSet; readonly replaced: ElementList; readonly added: ElementList }
  | { readonly do: 'remove'; readonly set: ElementSet; readonly removed: ElementList }
  | { readonly do: 'removeClass'; readonly remove: ClassRemove }
  | { readonly do: 'removeFirewall'; readonly remove: FirewallAdd };

/**
 * One transaction on one family's table, as a value. Written in this order, no step but the replacement of one element
 * by another leaves a frontend that leads nowhere:
 * new classes and source ranges; elements that get other data, and new ones; frontends last; then what is left over.
 */
export class Changes {
  readonly family: Family;
  readonly classesAdded: ClassAdd[] = [];
  readonly classesRemoved: ClassRemove[] = [];
  readonly firewallsAdded: FirewallAdd[] = [];
  readonly firewallsRemoved: FirewallAdd[] = [];
  /** Verdict elements of `firewall`: frontend key and chain. */
  readonly guarded: { readonly key: string; readonly chain: string }[] = [];
  readonly unguarded: { readonly key: string; readonly chain: string }[] = [];
  readonly sets: Readonly<Record<ElementSet, SetChanges>>;

  constructor(family: Family) {
    this.family = family;
    const sets: Partial<Record<ElementSet, SetChanges>> = {};
    for (const set of ELEMENT_SETS) {
      const { key, data } = widths(set, family);
      sets[set] = {
        replaced: new ElementList(key, 0),
        added: new ElementList(key, data),
        removed: new ElementList(key, 0),
      };
    }
    this.sets = sets as Record<ElementSet, SetChanges>;
  }

  /** The one order in which a transaction is written, and in which a simulation carries it out. */
  *steps(): Generator<Step> {
    for (const add of this.firewallsAdded) yield { do: 'addFirewall', add };
    for (const add of this.classesAdded) yield { do: 'addClass', add };
    for (const { key, chain } of this.unguarded) yield { do: 'unguard', key, chain };
    for (const { key, chain } of this.guarded) yield { do: 'guard', key, chain };
    for (const set of ELEMENT_SETS) {
      const { replaced, added } = this.sets[set];
      if (added.count > 0) yield { do: 'write', set, replaced, added };
    }
    for (const set of [...ELEMENT_SETS].reverse()) {
      const { removed } = this.sets[set];
      if (removed.count > 0) yield { do: 'remove', set, removed };
    }
    for (const remove of this.classesRemoved) yield { do: 'removeClass', remove };
    for (const remove of this.firewallsRemoved) yield { do: 'removeFirewall', remove };
  }

  /** Elements and objects touched. */
  get count(): number {
    let count =
      this.classesAdded.length +
      this.classesRemoved.length +
      this.firewallsAdded.length +
      this.firewallsRemoved.length +
      this.guarded.length +
      this.unguarded.length;
    for (const set of ELEMENT_SETS) {
      const { added, removed } = this.sets[set];
      count += added.count + removed.count;
    }
    return count;
  }

  get isEmpty(): boolean {
    return this.count === 0;
  }
}
