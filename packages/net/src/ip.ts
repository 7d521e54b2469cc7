/** IP family number as users write it. */
export type Family = 4 | 6;

/** An IP address as a value: 4 or 16 bytes in network order. */
export interface Ip {
  readonly family: Family;
  readonly bytes: Uint8Array;
}

function parseIp4(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(4);
  let value = 0;
  let digits = 0;
  let at = 0;
  for (let i = 0; i <= text.length; i++) {
    const c = i < text.length ? text.charCodeAt(i) : 46;
    if (c >= 48 && c <= 57) {
      // Leading zeros are refused as Go's net/netip refuses them: they are octal to some programs.
      if (digits > 0 && value === 0) return undefined;
      value = value * 10 + (c - 48);
      digits += 1;
      if (value > 255) return undefined;
    } else if (c === 46) {
      if (digits === 0 || at > 3) return undefined;
      bytes[at++] = value;
      value = 0;
      digits = 0;
    } else return undefined;
  }
  return at === 4 ? bytes : undefined;
}

function parseIp6(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(16);
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const groups = (part: string): number[] | undefined => {
    if (part === '') return [];
    const out: number[] = [];
    const pieces = part.split(':');
    for (let i = 0; i < pieces.length; i++) {
      const piece = pieces[i] as string;
      if (piece.includes('.')) {
        const v4 = i === pieces.length - 1 ? parseIp4(piece) : undefined;
        if (v4 === undefined) return undefined;
        out.push(((v4[0] as number) << 8) | (v4[1] as number), ((v4[2] as number) << 8) | (v4[3] as number));
      } else {
        if (!/^[0-9a-fA-F]{1,4}$/.test(piece)) return undefined;
        out.push(Number.parseInt(piece, 16));
      }
    }
    return out;
  };
  const head = groups(halves[0] as string);
  const tail = halves.length === 2 ? groups(halves[1] as string) : [];
  if (head === undefined || tail === undefined) return undefined;
  const total = head.length + tail.length;
  if (halves.length === 2 ? total > 7 : total !== 8) return undefined;
  const all = [...head, ...Array.from({ length: 8 - total }, () => 0), ...tail];
  all.forEach((group, i) => {
    bytes[2 * i] = group >> 8;
    bytes[2 * i + 1] = group & 0xff;
  });
  return bytes;
}

/** Reads an IPv4 or IPv6 address (RFC 4291 text forms, no zone). Undefined when the text is not an address. */
export function parseIp(text: string): Ip | undefined {
  const bytes = text.includes(':') ? parseIp6(text) : parseIp4(text);
  return bytes === undefined ? undefined : { family: bytes.length === 4 ? 4 : 6, bytes };
}

/** Bytes of an address that is known to be valid; throws RangeError when it is not. */
export function ipBytes(text: string): Uint8Array {
  const ip = parseIp(text);
  if (ip === undefined) throw new RangeError(`not an IP address: ${text}`);
  return ip.bytes;
}

export function ipFromBytes(bytes: Uint8Array): Ip {
  if (bytes.length !== 4 && bytes.length !== 16)
    throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
  return { family: bytes.length === 4 ? 4 : 6, bytes };
}

function formatIp6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] as number) << 8) | (bytes[2 * i + 1] as number));
  if (groups.slice(0, 5).every((g) => g === 0) && groups[5] === 0xffff) return `::ffff:${bytes.subarray(12).join('.')}`;
  let best = -1;
  let bestLength = 1;
  for (let i = 0; i < 8; i++) {
    let length = 0;
    while (i + length < 8 && groups[i + length] === 0) length += 1;
    if (length > bestLength) {
      best = i;
      bestLength = length;
    }
  }
  const hex = (list: number[]): string => list.map((g) => g.toString(16)).join(':');
  return best < 0 ? hex(groups) : `${hex(groups.slice(0, best))}::${hex(groups.slice(best + bestLength))}`;
}

/** Canonical text (RFC 5952). */
export function formatIp(ip: Ip | Uint8Array): string {
  const bytes = ip instanceof Uint8Array ? ip : ip.bytes;
  return bytes.length === 4 ? bytes.join('.') : formatIp6(bytes);
}

/** Order by family, then by numeric value. */
export function compareIp(a: Ip, b: Ip): number {
  if (a.family !== b.family) return a.family - b.family;
  for (let i = 0; i < a.bytes.length; i++) {
    const d = (a.bytes[i] as number) - (b.bytes[i] as number);
    if (d !== 0) return d;
  }
  return 0;
}

/** The address `offset` steps after `ip` (before it when negative). Throws RangeError beyond the family's end. */
export function addToIp(ip: Ip, offset: number | bigint): Ip {
  let carry = BigInt(offset);
  const bytes = Uint8Array.from(ip.bytes);
  for (let i = bytes.length - 1; i >= 0 && carry !== 0n; i--) {
    const sum = BigInt(bytes[i] as number) + carry;
    bytes[i] = Number(((sum % 256n) + 256n) % 256n);
    carry = (sum - BigInt(bytes[i] as number)) / 256n;
  }
  if (carry !== 0n) throw new RangeError(`address out of range: ${formatIp(ip)} + ${offset}`);
  return { family: ip.family, bytes };
}

/** `b - a` as a count of addresses; both must be of one family. */
export function ipDistance(a: Ip, b: Ip): bigint {
  const value = (ip: Ip): bigint => ip.bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);
  return value(b) - value(a);
}
