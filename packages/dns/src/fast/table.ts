import { randomInt } from 'node:crypto';
import type { KnownName } from '../server/handler.ts';
import { nameKey, type NameKey } from '../wire/index.ts';
import type { Entry } from './entry.ts';
import {
  CONTROL,
  createTableMemory,
  ENTRY,
  HALF,
  hashName,
  INDEX_PROBES,
  INDEX_SLOTS,
  NODE,
  NODE_SLOTS,
  nodeWord,
  questionHash,
  SCOPES,
  type TableMemory,
  VARIANT,
} from './memory.ts';

/** Entries in use at a time: the index stays half empty. */
const MAX_ENTRIES = INDEX_SLOTS / 2;
const MAX_NODES = NODE_SLOTS / 2;

/** The writing side of the table in shared memory; one per address, in the main thread. */
export class Table {
  readonly memory: TableMemory = createTableMemory(randomInt(0x7fffffff));
  readonly #control = new Int32Array(this.memory.control);
  readonly #nodes = new Int32Array(this.memory.nodes);
  readonly #index = new Int32Array(this.memory.index);
  readonly #words = new Int32Array(this.memory.arena);
  readonly #bytes = new Uint8Array(this.memory.arena);
  readonly #doubles = new Float64Array(this.memory.arena);
  /** Known names with their flags. */
  readonly #names = new Map<NameKey, number>();
  /** Names by what stands in their slot; more than one only by accident. */
  readonly #words2names = new Map<number, NameKey[]>();
  #tombstones = 0;
  #overfull = false;
  #half = 0;
  /** Next free byte of the arena; the first eight bytes are nobody's, so that no entry is at 0. */
  #free = 8;
  #entries = 0;

  get enabled(): boolean {
    return Atomics.load(this.#control, CONTROL.enabled) === 1;
  }

  set enabled(on: boolean) {
    Atomics.store(this.#control, CONTROL.enabled, on ? 1 : 0);
  }

  /** Voids everything that is kept. */
  forgetAll(): void {
    Atomics.add(this.#control, CONTROL.version, 1);
  }

  /** Voids what depends on a scope. */
  forget(scope: string): void {
    Atomics.add(this.#control, CONTROL.scopes + scopeSlot(scope), 1);
  }

  setSerial(source: number, serial: number): void {
    Atomics.store(this.#control, CONTROL.serials + source, serial | 0);
  }

  /** Keeps an answer until one of its scopes changes, or until memory is needed. */
  keep(entry: Entry): void {
    const size = entrySize(entry);
    if (size > HALF / 16) return;
    if (this.#entries >= MAX_ENTRIES || this.#free + size > (this.#half + 1) * HALF) this.#turn();
    const hash = questionHash(hashName(entry.name, this.memory.seed), entry.type);
    let slot = this.#slot(hash, entry);
    if (slot < 0) {
      this.#turn();
      slot = hash & (INDEX_SLOTS - 1);
    }
    const at = this.#free;
    this.#write(at, hash, entry);
    this.#free += size;
    this.#entries += 1;
    Atomics.store(this.#index, slot, at / 8);
  }

  /** Is there an answer that holds, to the question or to all names that do not exist in its zone? */
  holds(key: NameKey, type: number, variant: number): boolean {
    const name = Buffer.from(key, 'latin1');
    const hash = questionHash(hashName(name, this.memory.seed), type);
    for (let i = 0; i < INDEX_PROBES; i++) {
      const place = Atomics.load(this.#index, (hash + i) & (INDEX_SLOTS - 1));
      if (place === 0) return false;
      const same = [variant, VARIANT.any].some((v) => this.#isSame(place * 2, hash, { name, type, variant: v }));
      if (same && this.#valid(place * 2)) return true;
    }
    return false;
  }

  /** Says of names whether they exist. */
  know(names: Iterable<KnownName>): void {
    for (const { name, exists, closed, apex } of names) {
      const key = nameKey(name);
      const flags = exists ? NODE.exists | (closed ? NODE.closed : 0) | (apex === true ? NODE.apex : 0) : 0;
      if ((this.#names.get(key) ?? 0) === flags) continue;
      const word = nodeWord(hashName(Buffer.from(key, 'latin1'), this.memory.seed));
      const others = this.#words2names.get(word)?.filter((other) => other !== key) ?? [];
      if (exists) {
        this.#names.set(key, flags);
        this.#words2names.set(word, [...others, key]);
      } else {
        this.#names.delete(key);
        if (others.length === 0) this.#words2names.delete(word);
        else this.#words2names.set(word, others);
      }
      this.#setNode(word);
    }
    if (this.#names.size > MAX_NODES !== this.#overfull) {
      this.#overfull = !this.#overfull;
      this.#rebuildNodes();
    }
  }

  /** Forgets all names. */
  unknow(): void {
    this.#names.clear();
    this.#words2names.clear();
    this.#rebuildNodes();
  }

  /** Where the zone begins in the name that says that the name does not exist, as readers see it; -1 for nowhere. */
  denies(key: NameKey, labels: readonly number[]): number {
    let zone = -1;
    let closed = false;
    for (let i = labels.length - 1; i >= 0; i--) {
      const at = labels[i] as number;
      const flags = this.#names.get(key.slice(at)) ?? 0;
      if (closed && flags === 0) return zone;
      if ((flags & NODE.apex) !== 0) {
        zone = at;
        closed = (flags & NODE.closed) !== 0;
      } else closed = closed && (flags & NODE.closed) !== 0;
    }
    return -1;
  }

  /** What is said of a slot when several names share it: only what is true of all of them. */
  #flagsOf(word: number): number {
    const names = this.#words2names.get(word) ?? [];
    if (names.length === 0) return 0;
    const flags = names.map((name) => this.#names.get(name) as number);
    const closed = flags.every((f) => (f & NODE.closed) !== 0) ? NODE.closed : 0;
    return NODE.exists | closed | (flags.some((f) => (f & NODE.apex) !== 0) ? NODE.apex : 0);
  }

  #setNode(word: number): void {
    if (this.#overfull) return;
    const flags = this.#flagsOf(word);
    for (let slot = (word >>> 3) & (NODE_SLOTS - 1); ; slot = (slot + 1) & (NODE_SLOTS - 1)) {
      const found = Atomics.load(this.#nodes, slot);
      if (found !== 0 && (found & ~NODE.mask) !== word) continue;
      if (found === 0 && flags === 0) return;
      // A slot without flags keeps its place: names behind it are found past it.
      Atomics.store(this.#nodes, slot, word | flags);
      if (found !== 0 && flags === 0) this.#tombstones += 1;
      break;
    }
    if (this.#tombstones > NODE_SLOTS / 8) this.#rebuildNodes();
  }

  /** Readers find nothing meanwhile, and leave their queries to the chain. */
  #rebuildNodes(): void {
    const { enabled } = this;
    this.enabled = false;
    Atomics.add(this.#control, CONTROL.epoch, 1);
    this.#nodes.fill(0);
    this.#tombstones = 0;
    if (!this.#overfull) for (const word of this.#words2names.keys()) this.#setNode(word);
    Atomics.add(this.#control, CONTROL.epoch, 1);
    this.enabled = enabled;
  }

  /** Begins anew in the other half. Readers that are in the midst of an entry of this one may finish. */
  #turn(): void {
    this.#index.fill(0);
    Atomics.add(this.#control, CONTROL.epoch, 1);
    this.#half = 1 - this.#half;
    this.#free = this.#half * HALF + 8;
    this.#entries = 0;
  }

  /** Where the entry goes: in the place of one that it replaces or that holds no more, or where nothing is. -1: nowhere. */
  #slot(hash: number, entry: Entry): number {
    let stale = -1;
    for (let i = 0; i < INDEX_PROBES; i++) {
      const slot = (hash + i) & (INDEX_SLOTS - 1);
      const place = Atomics.load(this.#index, slot);
      if (place === 0) return stale >= 0 ? stale : slot;
      const at = place * 2;
      if (this.#isSame(at, hash, entry)) return slot;
      if (stale < 0 && this.#words[at + ENTRY.version] !== this.#control[CONTROL.version]) stale = slot;
    }
    return stale;
  }

  #isSame(at: number, hash: number, { name, type, variant }: Pick<Entry, 'name' | 'type' | 'variant'>): boolean {
    const words = this.#words;
    if (words[at + ENTRY.hash] !== hash) return false;
    if (words[at + ENTRY.key] !== ((name.length + 4) | (variant << 16))) return false;
    const stored = at * 4 + ENTRY.words * 4;
    if (this.#bytes[stored + name.length] !== type >> 8) return false;
    if (this.#bytes[stored + name.length + 1] !== (type & 0xff)) return false;
    return name.every((byte, i) => this.#bytes[stored + i] === byte);
  }

  /** As readers see it, age aside. */
  #valid(at: number): boolean {
    const words = this.#words;
    const control = this.#control;
    const scope = (word: number): number => control[CONTROL.scopes + (words[at + word] as number)] as number;
    return (
      words[at + ENTRY.version] === control[CONTROL.version] &&
      words[at + ENTRY.versionA] === scope(ENTRY.scopeA) &&
      words[at + ENTRY.versionB] === scope(ENTRY.scopeB) &&
      words[at + ENTRY.ttl] === 0
    );
  }

  #write(start: number, hash: number, entry: Entry): void {
    const at = start / 4;
    const words = this.#words;
    const control = this.#control;
    const [scopeA, scopeB] = [entry.scopes[0], entry.scopes[1]].map((s) => (s === undefined ? 0 : scopeSlot(s)));
    const { name, type, body, echoes, ttls } = entry;
    const patches = ENTRY.words * 4 + name.length + 4;
    const records = patches + echoes.length * 4 + ttls.length * 2;
    words[at + ENTRY.hash] = hash;
    words[at + ENTRY.key] = (name.length + 4) | (entry.variant << 16);
    words[at + ENTRY.scopeA] = scopeA as number;
    words[at + ENTRY.versionA] = control[CONTROL.scopes + (scopeA as number)] as number;
    words[at + ENTRY.scopeB] = scopeB as number;
    words[at + ENTRY.versionB] = control[CONTROL.scopes + (scopeB as number)] as number;
    words[at + ENTRY.version] = control[CONTROL.version] as number;
    words[at + ENTRY.meta] = entry.sort;
    words[at + ENTRY.flags] = entry.flags;
    words[at + ENTRY.counts] = entry.counts[0] | (entry.counts[1] << 16);
    words[at + ENTRY.sizes] = entry.counts[2] | (body.length << 16);
    words[at + ENTRY.ttl] = entry.ttl;
    this.#doubles[(at + ENTRY.storedAt) / 2] = entry.storedAt;
    words[at + ENTRY.serial] = entry.serial === undefined ? 0 : (entry.serial.at + 1) | (entry.serial.source << 16);
    words[at + ENTRY.rotate] = entry.rotate === undefined ? 0 : entry.rotate.from | (entry.rotate.unit << 16);
    words[at + ENTRY.rotateCount] = entry.rotate?.count ?? 0;
    words[at + ENTRY.patches] = echoes.length | (ttls.length << 16);
    words[at + ENTRY.starts] = patches | (records << 16);
    const bytes = this.#bytes;
    bytes.set(name, start + ENTRY.words * 4);
    const put = (to: number, value: number): void => {
      bytes[start + to] = value >> 8;
      bytes[start + to + 1] = value & 0xff;
    };
    put(ENTRY.words * 4 + name.length, type);
    put(ENTRY.words * 4 + name.length + 2, 1);
    echoes.forEach((echo, i) => {
      put(patches + i * 4, echo.at);
      put(patches + i * 4 + 2, echo.length);
    });
    ttls.forEach((place, i) => put(patches + echoes.length * 4 + i * 2, place));
    bytes.set(body, start + records);
  }
}

function entrySize({ name, body, echoes, ttls }: Entry): number {
  const bytes = ENTRY.words * 4 + name.length + 4 + echoes.length * 4 + ttls.length * 2 + body.length;
  return (bytes + 7) & ~7;
}

/** Slot of a scope; 0 is for entries that have none. Scopes that share a slot are forgotten together. */
function scopeSlot(scope: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < scope.length; i++) hash = Math.imul(hash ^ scope.charCodeAt(i), 0x01000193);
  return 1 + ((hash >>> 0) % (SCOPES - 1));
}
