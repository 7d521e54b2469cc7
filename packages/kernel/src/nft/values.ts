import { endianness } from 'node:os';
import { ipBytes } from '@weft/net';

const LITTLE = endianness() === 'LE';

const SLAB = 16_384;
let slab = new ArrayBuffer(SLAB);
let used = 0;

/** Small values share memory blocks: an array with a block of its own costs 200 bytes and ten times the time. */
function alloc(length: number): Uint8Array {
  if (length > 256) return new Uint8Array(length);
  if (used + length > SLAB) {
    slab = new ArrayBuffer(SLAB);
    used = 0;
  }
  const out = new Uint8Array(slab, used, length);
  used += (length + 3) & ~3;
  return out;
}

/** Register bytes of a concatenation: every field starts on a 4-byte border. */
export function fields(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += (part.length + 3) & ~3;
  const out = alloc(length);
  let at = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i++) out[at + i] = part[i] as number;
    at += (part.length + 3) & ~3;
  }
  return out;
}

/** One byte: protocols, flags. */
export function u8(value: number): Uint8Array {
  const out = alloc(1);
  out[0] = value;
  return out;
}

/** 16 bits in network order: ports. */
export function u16be(value: number): Uint8Array {
  const out = alloc(2);
  out[0] = value >>> 8;
  out[1] = value;
  return out;
}

/** 32 bits in network order. */
export function u32be(value: number): Uint8Array {
  const out = alloc(4);
  out[0] = value >>> 24;
  out[1] = value >>> 16;
  out[2] = value >>> 8;
  out[3] = value;
  return out;
}

/** 16 bits in host order. */
export function u16ne(value: number): Uint8Array {
  return LITTLE ? u16be(((value & 0xff) << 8) | ((value >>> 8) & 0xff)) : u16be(value);
}

/** 32 bits in host order: marks, class ids, interface indexes, numgen results. */
export function u32ne(value: number): Uint8Array {
  if (!LITTLE) return u32be(value);
  const out = alloc(4);
  out[0] = value;
  out[1] = value >>> 8;
  out[2] = value >>> 16;
  out[3] = value >>> 24;
  return out;
}

/** Reads 32 host-order bits back. */
export function readU32ne(bytes: Uint8Array, at = 0): number {
  const [a = 0, b = 0, c = 0, d = 0] = bytes.subarray(at, at + 4);
  return (LITTLE ? a | (b << 8) | (c << 16) | (d << 24) : d | (c << 8) | (b << 16) | (a << 24)) >>> 0;
}

/** Bytes of an IPv4 address text. */
export function ip4(text: string): Uint8Array {
  const bytes = ipBytes(text);
  if (bytes.length !== 4) throw new RangeError(`not an IPv4 address: ${text}`);
  return bytes;
}

/** Bytes of an IPv6 address text. */
export function ip6(text: string): Uint8Array {
  const bytes = ipBytes(text);
  if (bytes.length !== 16) throw new RangeError(`not an IPv6 address: ${text}`);
  return bytes;
}

/** An interface name as `meta iifname` holds it: 16 zero-padded bytes. For a prefix match compare `ifnamePrefix`. */
export function ifname(name: string): Uint8Array {
  const out = new Uint8Array(16);
  out.set(Buffer.from(name).subarray(0, 15));
  return out;
}

/** The bytes to compare for `iifname "name*"`: no terminator. */
export function ifnamePrefix(prefix: string): Uint8Array {
  return new Uint8Array(Buffer.from(prefix));
}

const PROTOCOLS = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** Transport protocol byte by name. */
export function proto(name: keyof typeof PROTOCOLS): Uint8Array {
  return Uint8Array.of(PROTOCOLS[name]);
}

/** Bits of `ct state`. */
export const CT_STATE = { invalid: 1, established: 2, related: 4, new: 8, untracked: 64 } as const;

/** Bits of `ct status`. */
export const CT_STATUS = {
  expected: 1,
  'seen-reply': 2,
  assured: 4,
  confirmed: 8,
  snat: 16,
  dnat: 32,
  dying: 512,
} as const;

/** Route types as `fib … type` gives them. */
export const RTN = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
} as const;

/** Priorities of base chains by their `nft` names (families other than bridge). */
export const PRIORITY = { raw: -300, mangle: -150, dstnat: -100, filter: 0, security: 50, srcnat: 100 } as const;
