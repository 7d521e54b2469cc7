import { addToIp, type Family, formatIp, type Ip, ipDistance, parseIp } from './ip.ts';

/** A CIDR block: an address whose host bits are zero, and a length in bits. */
export interface Prefix {
  readonly ip: Ip;
  readonly length: number;
}

function masked(ip: Ip, length: number): Ip {
  const bytes = Uint8Array.from(ip.bytes);
  for (let i = 0; i < bytes.length; i++) {
    const keep = Math.min(8, Math.max(0, length - 8 * i));
    bytes[i] = (bytes[i] as number) & (0xff << (8 - keep));
  }
  return { family: ip.family, bytes };
}

/** An address with a prefix length, host bits kept: what an interface carries (`10.0.0.7/24`). */
export function parseInterfaceAddress(text: string): { ip: Ip; length: number } | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const bits = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9][0-9]{0,2})$/.test(bits)) return undefined;
  const length = Number(bits);
  return length <= ip.bytes.length * 8 ? { ip, length } : undefined;
}

/** Reads a CIDR block; host bits are cleared. Undefined when the text is none. */
export function parsePrefix(text: string): Prefix | undefined {
  const parsed = parseInterfaceAddress(text);
  return parsed === undefined ? undefined : { ip: masked(parsed.ip, parsed.length), length: parsed.length };
}

/** A block of the given length around an address. */
export function prefixOf(ip: Ip, length: number): Prefix {
  if (length < 0 || length > ip.bytes.length * 8)
    throw new RangeError(`prefix length ${length} of an IPv${ip.family} address`);
  return { ip: masked(ip, length), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${formatIp(prefix.ip)}/${prefix.length}`;
}

export function prefixFamily(prefix: Prefix): Family {
  return prefix.ip.family;
}

export function prefixContains(prefix: Prefix, ip: Ip): boolean {
  if (prefix.ip.family !== ip.family) return false;
  const whole = prefix.length >> 3;
  for (let i = 0; i < whole; i++) if (prefix.ip.bytes[i] !== ip.bytes[i]) return false;
  const rest = prefix.length & 7;
  return rest === 0 || ((prefix.ip.bytes[whole] as number) ^ (ip.bytes[whole] as number)) >> (8 - rest) === 0;
}

export function prefixesOverlap(a: Prefix, b: Prefix): boolean {
  return a.length <= b.length ? prefixContains(a, b.ip) : prefixContains(b, a.ip);
}

/** Number of addresses in the block. */
export function prefixSize(prefix: Prefix): bigint {
  return 1n << BigInt(prefix.ip.bytes.length * 8 - prefix.length);
}

/** The address at `index` (0 = network address). Throws RangeError outside the block. */
export function addressAt(prefix: Prefix, index: number | bigint): Ip {
  if (BigInt(index) < 0n || BigInt(index) >= prefixSize(prefix))
    throw new RangeError(`no address ${index} in ${formatPrefix(prefix)}`);
  return addToIp(prefix.ip, index);
}

/** Position of an address in the block (0 = network address). */
export function indexIn(prefix: Prefix, ip: Ip): bigint {
  return ipDistance(prefix.ip, ip);
}

/** The last address of the block: the broadcast address of an IPv4 subnet. */
export function lastAddress(prefix: Prefix): Ip {
  return addressAt(prefix, prefixSize(prefix) - 1n);
}

/** Number of blocks of `length` in `prefix`. */
export function subnetCount(prefix: Prefix, length: number): bigint {
  return length < prefix.length ? 0n : 1n << BigInt(length - prefix.length);
}

/** Block number `index` of `length` bits inside `prefix`. Throws RangeError when there is none. */
export function subnetAt(prefix: Prefix, length: number, index: number | bigint): Prefix {
  if (BigInt(index) < 0n || BigInt(index) >= subnetCount(prefix, length)) {
    throw new RangeError(`no /${length} number ${index} in ${formatPrefix(prefix)}`);
  }
  const step = 1n << BigInt(prefix.ip.bytes.length * 8 - length);
  return { ip: addToIp(prefix.ip, step * BigInt(index)), length };
}
