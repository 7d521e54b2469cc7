// How keys, answers and counters lie in the maps that the program and the server share.

/** Bytes of a key: the question (name, type, class) in lower case, the rest zero. */
export const KEY = 80;
/** Longest question that is answered: with header and OPT record such a query has 100 bytes, the first bucket of metrics. */
export const MAX_QUESTION = 77;
/** Bytes of an answer behind its fixed part. */
export const TAIL = 172;

/** Places within the value of an answer. */
export const VALUE = {
  /** u32: good while the control block says the same; 0 for answers that are deleted when they change. */
  epoch: 0,
  /** u8: 1 when the answer's record is named as the question is, letter case included. */
  copyName: 4,
  /** u8: 1 when only a question in lower case may be answered so. */
  caseExact: 5,
  /** u16: first of the answer's counters. */
  slot: 6,
  /** u16 in network order: the header's flags without RD and CD. */
  flags: 8,
  /** u16: bytes of the tail. */
  length: 10,
  /** Three u16 in network order: records per section, without OPT. */
  counts: 12,
  tail: 20,
  size: 20 + TAIL,
} as const;

/** The control block, one entry: u32 epoch, u32 "answer at all". */
export const CONTROL = { epoch: 0, enabled: 4, size: 8 } as const;

/** A counter: three u64. */
export const COUNTER = { count: 0, requestBytes: 8, responseBytes: 16, size: 24 } as const;

/** Upper ends of the buckets of answer sizes that are told apart, as `coredns_dns_response_size_bytes` has them. */
export const SIZES = [100, 200, 300, 400] as const;
const KINDS = ['answer', 'nodata', 'nxdomain'] as const;
export type Kind = (typeof KINDS)[number];
/** Server blocks whose queries are told apart. */
export const BLOCKS = 8;
export const SLOTS = BLOCKS * 2 * KINDS.length * SIZES.length;

/** The first counter of answers of a kind, in a block; one for each size follows. `ipv6`: to AAAA instead of A. */
export function slotOf(block: number, ipv6: boolean, kind: Kind): number {
  return ((block * 2 + (ipv6 ? 1 : 0)) * KINDS.length + KINDS.indexOf(kind)) * SIZES.length;
}

/** What a counter counts. */
export function slotMeaning(slot: number): { block: number; ipv6: boolean; kind: Kind; size: number } {
  const size = SIZES[slot % SIZES.length] as number;
  const rest = Math.floor(slot / SIZES.length);
  const kind = KINDS[rest % KINDS.length] as Kind;
  const upper = Math.floor(rest / KINDS.length);
  return { block: Math.floor(upper / 2), ipv6: upper % 2 === 1, kind, size };
}
