import { type Family, formatIp, parsePrefix } from '@weft/net';
import type { Reader, Writer } from './bytes.ts';

/** AFI numbers of the families. */
export const AFI = { 4: 1, 6: 2 } as const;
export const SAFI_UNICAST = 1;

export function familyOfAfi(afi: number, safi: number): Family | undefined {
  if (safi !== SAFI_UNICAST) return undefined;
  return afi === 1 ? 4 : afi === 2 ? 6 : undefined;
}

/**
 * Reads prefixes up to the reader's end (RFC 4271 §4.3): bits beyond the length count as zero. Throws RangeError when
 * one is too long for its family or is cut off.
 */
export function readPrefixes(r: Reader, family: Family): string[] {
  const bits = family === 4 ? 32 : 128;
  const prefixes: string[] = [];
  while (r.left > 0) {
    const length = r.u8();
    if (length > bits) throw new RangeError(`prefix length ${length} of IPv${family}`);
    const bytes = new Uint8Array(bits / 8);
    bytes.set(r.take((length + 7) >> 3));
    const rest = length & 7;
    if (rest !== 0) bytes[length >> 3] = (bytes[length >> 3] as number) & (0xff << (8 - rest));
    prefixes.push(`${formatIp(bytes)}/${length}`);
  }
  return prefixes;
}

/** Bytes that a prefix of this text takes in a message. */
export function writePrefix(w: Writer, text: string): void {
  const prefix = parsePrefix(text);
  if (prefix === undefined) throw new RangeError(`not a prefix: ${text}`);
  w.u8(prefix.length);
  w.put(prefix.ip.bytes.subarray(0, (prefix.length + 7) >> 3));
}
