/** Longest name on the wire, root byte included (RFC 1035 section 3.1). */
export const MAX_NAME = 255;

/** A name or message that breaks the wire format. */
export class WireError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'WireError';
  }
}

/** The root name. */
const ROOT: Uint8Array = Uint8Array.of(0);

/**
 * Wire form of a name in presentation form. A missing final dot is supplied; `\.` and `\DDD` escapes are understood.
 * @throws WireError when a label or the whole name is too long or a label is empty.
 */
export function nameFromText(text: string): Uint8Array {
  if (text === '' || text === '.') return ROOT;
  const bytes: number[] = [];
  let label: number[] = [];
  const flush = (): void => {
    if (label.length === 0) throw new WireError(`empty label in name: ${text}`);
    if (label.length > 63) throw new WireError(`label of more than 63 bytes in name: ${text}`);
    bytes.push(label.length);
    for (const byte of label) bytes.push(byte);
    label = [];
  };
  const source = Buffer.from(text, 'utf8');
  for (let i = 0; i < source.length; i++) {
    const c = source[i] as number;
    if (c === 0x2e) flush();
    else if (c !== 0x5c) label.push(c);
    else {
      const digits = source.subarray(i + 1, i + 4).toString('latin1');
      if (/^[0-9]{3}$/.test(digits) && Number(digits) <= 255) {
        label.push(Number(digits));
        i += 3;
      } else {
        const escaped = source[i + 1];
        if (escaped === undefined) throw new WireError(`name ends in an escape: ${text}`);
        label.push(escaped);
        i += 1;
      }
    }
  }
  if (label.length > 0) flush();
  bytes.push(0);
  if (bytes.length > MAX_NAME) throw new WireError(`name of more than 255 bytes: ${text}`);
  return Uint8Array.from(bytes);
}

function escapeByte(byte: number): string {
  const c = String.fromCharCode(byte);
  if (byte < 0x21 || byte > 0x7e) return `\\${String(byte).padStart(3, '0')}`;
  return '."();@$\\'.includes(c) ? `\\${c}` : c;
}

/** Presentation form with final dot of an uncompressed wire name at `start`. */
export function nameToText(wire: Uint8Array, start = 0): string {
  let out = '';
  let at = start;
  for (;;) {
    const length = wire[at];
    if (length === undefined || length > 63) throw new WireError('broken name');
    if (length === 0) return out === '' ? '.' : out;
    for (let i = at + 1; i <= at + length; i++) out += escapeByte(wire[i] as number);
    out += '.';
    at += length + 1;
  }
}

/**
 * The key under which a name is looked up: its wire form in lower case, one character per byte. Keys compare names
 * exactly (RFC 4343), which presentation text does not because of escapes.
 */
export type NameKey = string;

/** Key of an uncompressed wire name. */
export function nameKey(wire: Uint8Array): NameKey {
  let out = '';
  let labelEnd = 0;
  for (let i = 0; i < wire.length; i++) {
    const byte = wire[i] as number;
    if (i === labelEnd) {
      labelEnd = i + 1 + byte;
      out += String.fromCharCode(byte);
    } else out += String.fromCharCode(byte >= 65 && byte <= 90 ? byte + 32 : byte);
  }
  return out;
}

export function keyFromText(text: string): NameKey {
  return nameKey(nameFromText(text));
}

export function keyToText(key: NameKey): string {
  return nameToText(Buffer.from(key, 'latin1'));
}

/** Key of one label, for composing keys: length byte and lower-cased text. Undefined when it cannot be a label. */
export function labelKey(label: string): NameKey | undefined {
  const bytes = Buffer.from(label.toLowerCase(), 'utf8');
  if (bytes.length === 0 || bytes.length > 63) return undefined;
  return String.fromCharCode(bytes.length) + bytes.toString('latin1');
}

/** Offsets at which the labels of a key start, root excluded. */
export function labelOffsets(key: NameKey): number[] {
  const out: number[] = [];
  for (let at = 0; at < key.length; ) {
    const length = key.charCodeAt(at);
    if (length === 0) break;
    out.push(at);
    at += length + 1;
  }
  return out;
}

/** Where a name at some place of a message ends, and its uncompressed form. */
export interface ReadName {
  readonly name: Uint8Array;
  readonly next: number;
}

/**
 * Reads a possibly compressed name (RFC 1035 section 4.1.4).
 * @throws WireError on truncation, forward or looping pointers, reserved label types, and names beyond 255 bytes.
 */
export function readName(message: Uint8Array, offset: number): ReadName {
  const parts = new Uint8Array(MAX_NAME);
  let used = 0;
  let at = offset;
  let next = -1;
  // A pointer must point before the place where this run of labels began, so the walk ends.
  let limit = offset;
  for (;;) {
    const length = message[at];
    if (length === undefined) throw new WireError('name runs past the end of the message');
    if (length >= 0xc0) {
      const low = message[at + 1];
      if (low === undefined) throw new WireError('pointer runs past the end of the message');
      const target = ((length & 0x3f) << 8) | low;
      if (next < 0) next = at + 2;
      if (target >= limit) throw new WireError('compression pointer does not point backwards');
      limit = target;
      at = target;
      continue;
    }
    if (length > 63) throw new WireError('reserved label type');
    if (used + length + 1 > MAX_NAME) throw new WireError('name of more than 255 bytes');
    if (at + length + 1 > message.length) throw new WireError('label runs past the end of the message');
    for (let i = 0; i <= length; i++) parts[used + i] = message[at + i] as number;
    used += length + 1;
    at += length + 1;
    if (length === 0) return { name: parts.slice(0, used), next: next < 0 ? at : next };
  }
}
