// Layout of the memory that the server writes and its workers read. All numbers in it are in the machine's byte order,
// except for what is bytes of a DNS message.

/** Words of the control block. */
export const CONTROL = {
  /** 1 while answers may be given; 0 leaves every query to the chain. */
  enabled: 0,
  /** Grows when the arena's other half comes into use: what was read of an entry before is void. */
  epoch: 1,
  /** Grows when everything that is kept may be wrong. */
  version: 2,
  /** Serials of the sources' SOA records. */
  serials: 8,
  /** Versions of scopes: an entry holds as long as those of its scopes stay. */
  scopes: 32,
} as const;

export const SERIALS = 16;
export const SCOPES = 16_384;
const CONTROL_WORDS = CONTROL.scopes + SCOPES;

/** Slots of the table of known names, one word each: a hash with these flags in its low bits, 0 for none. */
export const NODE = {
  exists: 1,
  /** Every name right below is known: one that is not does not exist. */
  closed: 2,
  /** A zone begins here. */
  apex: 4,
  mask: 7,
} as const;
export const NODE_SLOTS = 1 << 18;

/** Slots of the index, one word each: where an entry is, in units of eight bytes, 0 for none. */
export const INDEX_SLOTS = 1 << 17;
/** So many slots after the first one are looked at. */
export const INDEX_PROBES = 24;
/** Entries are made in one half until it is full, and then in the other one. */
export const HALF = 8 * 1024 * 1024;

/** Words of an entry's header. Its bytes follow: the question, echoes and places of TTLs, the records. */
export const ENTRY = {
  hash: 0,
  /** Bytes of the question (name, type, class), and the variant in the upper half. */
  key: 1,
  scopeA: 2,
  versionA: 3,
  scopeB: 4,
  versionB: 5,
  version: 6,
  meta: 7,
  /** Second word of the reply's header, and more flags above it. */
  flags: 8,
  /** Answers, and authority records in the upper half. */
  counts: 9,
  /** Additional records, and bytes of all records in the upper half. */
  sizes: 10,
  /** Seconds that the answer was good for when it was stored; 0 for answers that do not age. */
  ttl: 11,
  /** Milliseconds since the epoch, a double in two words. */
  storedAt: 12,
  /** Place of the SOA serial in the records plus one, 0 for none, and its source in the upper half. */
  serial: 14,
  /** Where the records to rotate begin, and the bytes of each in the upper half. */
  rotate: 15,
  rotateCount: 16,
  /** Number of echoes, and of TTLs in the upper half. */
  patches: 17,
  /** Bytes from the start of the entry to the patches, and to the records in the upper half. */
  starts: 18,
  words: 20,
} as const;

/** Above the sixteen bits of the reply's header in `ENTRY.flags`. */
export const ENTRY_FLAG = {
  /** Records name the question in a way that is only known for names in lower case. */
  lowerOnly: 1 << 16,
  /** The TTL does not age. */
  keepTtl: 1 << 17,
} as const;

/** Which of several answers to one question an entry is: DO and CD of the query, or one of these. */
export const VARIANT = {
  /** Good for all of them. */
  any: 0xff,
  /** The answer to every name below this one that does not exist. */
  denial: 0xfe,
} as const;

/** What a worker needs to read the table of one address. */
export interface TableMemory {
  readonly control: SharedArrayBuffer;
  readonly nodes: SharedArrayBuffer;
  readonly index: SharedArrayBuffer;
  readonly arena: SharedArrayBuffer;
  readonly seed: number;
}

/** Memory for one table; the system gives pages only to what is written. */
export function createTableMemory(seed: number): TableMemory {
  return {
    control: new SharedArrayBuffer(CONTROL_WORDS * 4),
    nodes: new SharedArrayBuffer(NODE_SLOTS * 4),
    index: new SharedArrayBuffer(INDEX_SLOTS * 4),
    arena: new SharedArrayBuffer(2 * HALF),
    seed,
  };
}

/** One step of the hash, which runs over a name from its last byte to its first. */
export function hashByte(hash: number, byte: number): number {
  return Math.imul(hash ^ byte, 0x01000193);
}

/** Spreads a hash over all bits. */
export function finish(hash: number): number {
  let h = hash ^ (hash >>> 16);
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  return Math.imul(h, 0xc2b2ae35) ^ (h >>> 7);
}

/** Hash of a name in wire form and lower case, without its root byte. */
export function hashName(name: Uint8Array, seed: number): number {
  let hash = seed;
  for (let i = name.length - 2; i >= 0; i--) hash = hashByte(hash, name[i] as number);
  return hash;
}

/** What stands in a node's slot for its name: never 0, flags cleared. */
export function nodeWord(hash: number): number {
  const word = finish(hash) & ~NODE.mask;
  return word === 0 ? 8 : word;
}

/** Hash of a question from that of its name. */
export function questionHash(hash: number, type: number): number {
  return finish(hashByte(hashByte(hash, type >> 8), type & 0xff));
}
