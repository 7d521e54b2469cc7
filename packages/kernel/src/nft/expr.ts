import type { CmpOp, CtKey, Expr, FibFlag, MetaKey, NatFlag, PayloadBase, Register } from './expr-types.ts';
import type { Verdict } from './types.ts';

type Of<T extends Expr['type']> = Extract<Expr, { type: T }>;
type Args<T extends Expr['type']> = Omit<Of<T>, 'type'>;

/** The 4-byte register `n` (0..15). Every fourth is also the start of a 16-byte one, and is named so, as the kernel lists it. */
export function reg32(n: number): Register {
  if (!Number.isInteger(n) || n < 0 || n > 15) throw new RangeError(`no 32-bit register ${n}`);
  return n % 4 === 0 ? 1 + n / 4 : 8 + n;
}

/** The 16-byte register `n` (1..4). */
export function reg(n: number): Register {
  if (!Number.isInteger(n) || n < 1 || n > 4) throw new RangeError(`no 16-byte register ${n}`);
  return n;
}

/** A header field: which header, byte offset in it, byte count. */
export interface HeaderField {
  readonly base: PayloadBase;
  readonly offset: number;
  readonly len: number;
}

/** Fields that rules load most; values arrive in network byte order. */
export const header = {
  ether: {
    daddr: { base: 'link', offset: 0, len: 6 },
    saddr: { base: 'link', offset: 6, len: 6 },
    type: { base: 'link', offset: 12, len: 2 },
  },
  ip: {
    dscp: { base: 'network', offset: 1, len: 1 },
    length: { base: 'network', offset: 2, len: 2 },
    ttl: { base: 'network', offset: 8, len: 1 },
    protocol: { base: 'network', offset: 9, len: 1 },
    saddr: { base: 'network', offset: 12, len: 4 },
    daddr: { base: 'network', offset: 16, len: 4 },
  },
  ip6: {
    nexthdr: { base: 'network', offset: 6, len: 1 },
    hoplimit: { base: 'network', offset: 7, len: 1 },
    saddr: { base: 'network', offset: 8, len: 16 },
    daddr: { base: 'network', offset: 24, len: 16 },
  },
  /** Ports of tcp, udp, sctp and dccp alike. */
  th: {
    sport: { base: 'transport', offset: 0, len: 2 },
    dport: { base: 'transport', offset: 2, len: 2 },
  },
  tcp: { flags: { base: 'transport', offset: 13, len: 1 } },
  icmp: {
    type: { base: 'transport', offset: 0, len: 1 },
    code: { base: 'transport', offset: 1, len: 1 },
  },
} as const satisfies Record<string, Record<string, HeaderField>>;

/** Loads packet metadata. `mark`, `priority`, `iif`, `skuid` are host order; `iifname` fills 16 bytes. */
export function meta(key: MetaKey, dreg: Register): Expr {
  return { type: 'meta', key, dreg };
}

/** Writes packet metadata from a register. */
export function metaSet(key: MetaKey, sreg: Register): Expr {
  return { type: 'metaSet', key, sreg };
}

/** Loads a header field: `payload(header.ip.daddr, reg32(0))`. */
export function payload(field: HeaderField, dreg: Register): Expr {
  return { type: 'payload', base: field.base, offset: field.offset, len: field.len, dreg };
}

/** Writes a header field, correcting the checksum named. */
export function payloadSet(args: Args<'payloadSet'>): Expr {
  return { type: 'payloadSet', ...args };
}

/** Goes on only when the comparison of the register's bytes holds. */
export function cmp(op: CmpOp, sreg: Register, data: Uint8Array): Expr {
  return { type: 'cmp', op, sreg, data };
}

/** Goes on when from <= value <= to (byte-wise, so network order). */
export function range(sreg: Register, from: Uint8Array, to: Uint8Array): Expr {
  return { type: 'range', op: 'eq', sreg, from, to };
}

/** Goes on when the value is outside from..to. */
export function notInRange(sreg: Register, from: Uint8Array, to: Uint8Array): Expr {
  return { type: 'range', op: 'neq', sreg, from, to };
}

/** `dreg = (sreg & mask) ^ xor`; xor defaults to zero. */
export function bitwise(args: {
  readonly sreg: Register;
  readonly dreg: Register;
  readonly mask: Uint8Array;
  readonly xor?: Uint8Array;
}): Expr {
  return {
    type: 'bitwise',
    sreg: args.sreg,
    dreg: args.dreg,
    mask: args.mask,
    xor: args.xor ?? new Uint8Array(args.mask.length),
  };
}

/** Shifts a host-order value by `bits`. */
export function shift(args: Args<'shift'>): Expr {
  return { type: 'shift', ...args };
}

/** Looks the key (starting at `sreg`) up in a set (match) or a map (value into `dreg`; `dreg: 0` = verdict map). */
export function lookup(args: Args<'lookup'>): Expr {
  return { type: 'lookup', ...args };
}

/** Looks the key up in a verdict map and obeys the verdict. */
export function vmap(set: string, sreg: Register): Expr {
  return { type: 'lookup', set, sreg, dreg: 0 };
}

/** Loads constant bytes. */
export function immediate(dreg: Register, data: Uint8Array): Expr {
  return { type: 'immediate', dreg, data };
}

/** Ends the rule with a verdict. */
export function verdict(v: Verdict): Expr {
  return { type: 'verdict', verdict: v };
}

/** Translates the address (and port) of the flow to what the registers hold. */
export function nat(args: Args<'nat'>): Expr {
  return { type: 'nat', ...args };
}

/** Source translation to the address of the outgoing interface. */
export function masquerade(args: { readonly flags?: readonly NatFlag[] } = {}): Expr {
  return { type: 'masquerade', ...args };
}

/** Destination translation to this host (and the port in `portReg`). */
export function redirect(args: Args<'redirect'> = {}): Expr {
  return { type: 'redirect', ...args };
}

/** Refuses: `'tcp reset'`, or an ICMP code (default port unreachable of the family: 3, IPv6: 4, icmpx: 1). */
export function reject(args: { readonly with: 'icmp' | 'tcp reset' | 'icmpx'; readonly code?: number }): Expr {
  return {
    type: 'reject',
    with: args.with,
    code: args.code ?? (args.with === 'icmp' ? 3 : args.with === 'icmpx' ? 1 : 0),
  };
}

/** A host-order number in `offset .. offset + modulus - 1`. */
export function numgen(args: Args<'numgen'>): Expr {
  return { type: 'numgen', ...args };
}

/** Hash of `len` bytes from `sreg`, in `offset .. offset + modulus - 1`. */
export function jhash(args: {
  readonly sreg: Register;
  readonly len: number;
  readonly dreg: Register;
  readonly modulus: number;
  readonly seed?: number;
  readonly offset?: number;
}): Expr {
  return { type: 'hash', mode: 'jhash', ...args };
}

/** Hash of the flow, equal for both directions. */
export function symhash(args: { readonly dreg: Register; readonly modulus: number; readonly offset?: number }): Expr {
  return { type: 'hash', mode: 'symhash', ...args };
}

/** Asks the routing table; `type` gives a host-order RTN_* number (see `RTN`). */
export function fib(args: {
  readonly result: 'oif' | 'oifname' | 'type';
  readonly flags: readonly FibFlag[];
  readonly dreg: Register;
}): Expr {
  return { type: 'fib', ...args };
}

/** Loads a conntrack property; `state` and `status` are host-order bit sets (see `CT_STATE`, `CT_STATUS`). */
export function ct(key: CtKey, dreg: Register, direction?: 'original' | 'reply'): Expr {
  return direction === undefined ? { type: 'ct', key, dreg } : { type: 'ct', key, dreg, direction };
}

/** Writes a conntrack property (`mark`, `label`, `zone`, …) from a register. */
export function ctSet(key: CtKey, sreg: Register, direction?: 'original' | 'reply'): Expr {
  return direction === undefined ? { type: 'ctSet', key, sreg } : { type: 'ctSet', key, sreg, direction };
}

/** Counts packets and bytes of the rule. */
export function counter(start?: { readonly packets: bigint; readonly bytes: bigint }): Expr {
  return { type: 'counter', ...start };
}

/** Adds, updates (also refreshes the timeout) or deletes the element whose key starts at register `key`. */
export function dynset(args: Args<'dynset'>): Expr {
  return { type: 'dynset', ...args };
}

/** Goes on while the rate is kept (with `over`: when it is exceeded). */
export function limit(args: Args<'limit'>): Expr {
  return { type: 'limit', ...args };
}

/** Goes on while there are at most `count` tracked connections (with `over`: when there are more). */
export function connlimit(args: Args<'connlimit'>): Expr {
  return { type: 'connlimit', ...args };
}

/** Writes the packet to the kernel log, or to an nflog group. */
export function log(args: Args<'log'> = {}): Expr {
  return { type: 'log', ...args };
}

/** The packet is not tracked (raw hooks, before conntrack). */
export function notrack(): Expr {
  return { type: 'notrack' };
}

/** Converts between host and network order. */
export function byteorder(args: Args<'byteorder'>): Expr {
  return { type: 'byteorder', ...args };
}

/** Hands the packet to a userspace queue. */
export function queue(args: Args<'queue'>): Expr {
  return { type: 'queue', ...args };
}

/** Delivers to a local transparent socket without changing the packet. */
export function tproxy(args: Args<'tproxy'>): Expr {
  return { type: 'tproxy', ...args };
}

/** Loads a property of the local socket the packet belongs to. */
export function socket(args: Args<'socket'>): Expr {
  return { type: 'socket', ...args };
}

/** Loads a property of the packet's route. */
export function rt(key: Of<'rt'>['key'], dreg: Register): Expr {
  return { type: 'rt', key, dreg };
}

/** Loads (or sets) an IPv6 extension header, TCP or IP option field. */
export function exthdr(args: Args<'exthdr'>): Expr {
  return { type: 'exthdr', ...args };
}
