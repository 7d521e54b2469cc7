import { type Family, formatIp, type Ip, ipFromBytes, parseIp } from '@weft/net';

/**
 * Addresses and endpoints as short one-byte strings.
 *
 * A cluster has tens of thousands of them, each held several times (watch, plan, shadow of the kernel). As objects they
 * would cost over 150 bytes a piece; as strings whose char codes are the bytes in network order they cost 6 (IPv4
 * endpoint) in one string per list, serve as Map keys, and sort by address.
 *
 * - packed address: 4 or 16 chars
 * - packed endpoint: address + 2 chars of port
 */
export type Packed = string;

/** Packed form of an address text; undefined when it is none. */
export function packAddress(text: string): Packed | undefined {
  const ip = parseIp(text);
  return ip === undefined ? undefined : packIp(ip);
}

export function packIp(ip: Ip): Packed {
  return String.fromCharCode(...ip.bytes);
}

/** Canonical text of a packed address. */
export function formatAddress(packed: Packed): string {
  return formatIp(addressBytes(packed));
}

export function unpackIp(packed: Packed): Ip {
  return ipFromBytes(addressBytes(packed));
}

function addressBytes(packed: Packed): Uint8Array {
  const bytes = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) bytes[i] = packed.charCodeAt(i);
  return bytes;
}

/** The two chars of a port in network order. */
export function packPort(port: number): Packed {
  return String.fromCharCode(port >> 8, port & 0xff);
}

/** The port in the last two chars of a packed endpoint or frontend key. */
export function portOf(packed: Packed): number {
  return (packed.charCodeAt(packed.length - 2) << 8) | packed.charCodeAt(packed.length - 1);
}

/** The address of a packed endpoint. */
function addressOf(endpoint: Packed): Packed {
  return endpoint.slice(0, -2);
}

/** `10.0.0.1:80` or `[fd00::1]:80`. */
export function formatEndpoint(endpoint: Packed): string {
  const address = formatAddress(addressOf(endpoint));
  return `${address.includes(':') ? `[${address}]` : address}:${portOf(endpoint)}`;
}

/** Chars of an endpoint of the family: 6 or 18. */
export function endpointWidth(family: Family): number {
  return family === 4 ? 6 : 18;
}

/** Chars of an address of the family: 4 or 16. */
export function addressWidth(family: Family): number {
  return family === 4 ? 4 : 16;
}

/** Cuts a list of equally wide items into items. */
export function unpackList(list: Packed, width: number): Packed[] {
  const out: Packed[] = [];
  for (let at = 0; at < list.length; at += width) out.push(list.slice(at, at + width));
  return out;
}

/**
 * Joins items into one flat string. `Array.join` and `+` may keep a tree of the parts alive; a string made from a buffer
 * is one piece.
 */
export function packList(items: readonly Packed[]): Packed {
  if (items.length === 0) return '';
  if (items.length === 1) return flat(items[0] as string);
  return flat(items.join(''));
}

/** A copy that shares nothing with the strings it was cut from. */
export function flat(text: Packed): Packed {
  return text.length < 13 ? text : Buffer.from(text, 'latin1').toString('latin1');
}
