import { ipBytes, parseIp } from '@weft/net';
import { CLASS, TYPE, typeNumber } from './constants.ts';
import { nameFromText } from './name.ts';
import { concat, type Rr, rdata } from './rdata.ts';

/** A word of a master file. */
export interface RecordWord {
  readonly text: string;
  readonly quoted: boolean;
}

/** Words of a line: blanks part them, quotes hold them together and `\` keeps the next character. */
export function recordWords(text: string): RecordWord[] {
  const out: RecordWord[] = [];
  for (const match of text.matchAll(/"((?:[^"\\]|\\.)*)"|;.*$|([^\s";()]+)/g)) {
    if (match[1] !== undefined) out.push({ text: unescape(match[1]), quoted: true });
    else if (match[2] !== undefined) out.push({ text: match[2], quoted: false });
  }
  return out;
}

/** `\DDD` is a byte, `\X` the character X (RFC 1035 section 5.1). */
function unescape(text: string): string {
  return text.replace(/\\(\d{3}|.)/g, (_, what: string) =>
    what.length === 3 ? String.fromCharCode(Number(what)) : what,
  );
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 };

/** Seconds of a TTL: a number, or `1h30m` as BIND writes it. */
export function ttlOf(text: string): number | undefined {
  if (/^\d+$/.test(text)) return Number(text);
  if (!/^(\d+[smhdw])+$/i.test(text)) return undefined;
  let sum = 0;
  for (const [, amount, unit] of text.toLowerCase().matchAll(/(\d+)([smhdw])/g))
    sum += Number(amount) * (UNITS[unit as string] as number);
  return sum;
}

/** A record that cannot be read. */
class RecordTextError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'RecordTextError';
  }
}

/** TTL of records that do not give one, in seconds. */
const DEFAULT_TTL = 3600;

/** What the words of a record mean where they stand. */
export interface RecordContext {
  /** Names without a final dot are below this one, in wire form. */
  readonly origin: Uint8Array;
  /** Seconds, for records that give no TTL. */
  readonly ttl: number;
}

const BELOW_ROOT: RecordContext = { origin: Uint8Array.of(0), ttl: DEFAULT_TTL };

/**
 * Reads a resource record as a master file writes it (RFC 1035 section 5.1): `NAME [TTL] [CLASS] TYPE DATA`. Names without
 * a final dot are below the root. @throws RecordTextError
 */
export function recordFromText(text: string): Rr {
  const [owner, ...rest] = recordWords(text);
  if (owner === undefined) throw new RecordTextError('empty record');
  return recordFromWords(nameOf(owner.text, BELOW_ROOT.origin), rest, BELOW_ROOT, text).rr;
}

/**
 * Reads what comes after a record's owner. `whole` is what errors quote.
 * @throws RecordTextError
 */
export function recordFromWords(
  owner: Uint8Array,
  words: readonly RecordWord[],
  context: RecordContext,
  whole: string,
): { readonly rr: Rr; readonly ownTtl: boolean } {
  let ttl: number | undefined;
  let cls: number | undefined;
  let at = 0;
  // TTL and class come in either order.
  for (; at < words.length && at < 2; at++) {
    const word = (words[at] as RecordWord).text;
    const seconds = ttlOf(word);
    const known = (CLASS as Record<string, number>)[word.toUpperCase()];
    if (seconds !== undefined && ttl === undefined) ttl = seconds;
    else if (known !== undefined && word.toUpperCase() !== 'ANY' && cls === undefined) cls = known;
    else break;
  }
  const typeWord = words[at];
  const type = typeWord === undefined ? undefined : typeNumber(typeWord.text);
  if (type === undefined) throw new RecordTextError(`no type of record in ${JSON.stringify(whole)}`);
  const data = dataOf(type, words.slice(at + 1), whole, context.origin);
  const rr = { name: owner, type, class: cls ?? CLASS.IN, ttl: ttl ?? context.ttl, rdata: data };
  return { rr, ownTtl: ttl !== undefined };
}

/** A name of a master file in wire form: `@` is the origin. @throws RecordTextError */
export function nameOf(text: string, origin: Uint8Array): Uint8Array {
  if (text === '@' && origin.length > 1) return origin;
  try {
    // An escaped dot at the end ends no name.
    if (/(?:^|[^\\])(?:\\\\)*\.$/.test(text) || origin.length === 1) return nameFromText(text);
    const relative = nameFromText(text);
    const out = concat([relative.subarray(0, -1), origin]);
    if (out.length > 255) throw new RangeError(text);
    return out;
  } catch {
    throw new RecordTextError(`${JSON.stringify(text)} is no domain name`);
  }
}

function dataOf(type: number, fields: readonly RecordWord[], whole: string, origin: Uint8Array): Uint8Array {
  const name = (text: string): Uint8Array => nameOf(text, origin);
  const wrong = (why: string): RecordTextError => new RecordTextError(`${why} in ${JSON.stringify(whole)}`);
  const field = (i: number): string => {
    const word = fields[i];
    if (word === undefined) throw wrong('too few fields');
    return word.text;
  };
  const number = (i: number, max: number): number => {
    const value = /^\d+$/.test(field(i)) ? Number(field(i)) : Number.NaN;
    if (!(value <= max)) throw wrong(`${JSON.stringify(field(i))} is no number up to ${max}`);
    return value;
  };
  const exactly = (count: number): void => {
    if (fields.length !== count) throw wrong(fields.length < count ? 'too few fields' : 'too many fields');
  };
  const u16 = (i: number): Uint8Array => Uint8Array.of(number(i, 0xffff) >> 8, number(i, 0xffff) & 0xff);
  const rest = (from: number): string => {
    field(from);
    return fields
      .slice(from)
      .map((word) => word.text)
      .join('');
  };
  const hex = (from: number): Uint8Array => {
    const bytes = Buffer.from(rest(from), 'hex');
    if (bytes.length * 2 !== rest(from).length) throw wrong(`${JSON.stringify(rest(from))} is not hexadecimal`);
    return bytes;
  };
  // RFC 3597 section 5: `\# LENGTH HEX…`, for any type.
  if (fields[0]?.text === '\\#') {
    const text = fields
      .slice(2)
      .map((word) => word.text)
      .join('');
    const bytes = Uint8Array.from(Buffer.from(text, 'hex'));
    if (bytes.length !== number(1, 0xffff) || text.length !== bytes.length * 2) throw wrong('length and data differ');
    return bytes;
  }
  switch (type) {
    case TYPE.A:
    case TYPE.AAAA: {
      exactly(1);
      const ip = parseIp(field(0));
      if (ip?.family !== (type === TYPE.A ? 4 : 6))
        throw wrong(`${JSON.stringify(field(0))} is no address of the type`);
      return ipBytes(field(0));
    }
    case TYPE.NS:
    case TYPE.CNAME:
    case TYPE.PTR:
    case TYPE.DNAME:
      exactly(1);
      return name(field(0));
    case TYPE.MX:
      exactly(2);
      return rdata.mx(number(0, 0xffff), name(field(1)));
    case TYPE.SRV:
      exactly(4);
      return rdata.srv(number(0, 0xffff), number(1, 0xffff), number(2, 0xffff), name(field(3)));
    case TYPE.TXT:
      if (fields.length === 0) throw wrong('too few fields');
      return strings(fields.map((word) => word.text));
    case TYPE.HINFO:
      exactly(2);
      return strings([field(0), field(1)]);
    case TYPE.CAA:
      exactly(3);
      return concat([
        Uint8Array.of(number(0, 255), Buffer.byteLength(field(1))),
        Buffer.from(field(1), 'latin1'),
        Buffer.from(field(2), 'latin1'),
      ]);
    case TYPE.NAPTR:
      exactly(6);
      return concat([u16(0), u16(1), strings([field(2), field(3), field(4)]), name(field(5))]);
    case TYPE.SOA: {
      exactly(7);
      const seconds = (i: number): number => {
        const value = ttlOf(field(i));
        if (value === undefined || value > 0xffff_ffff) throw wrong(`${JSON.stringify(field(i))} is no time`);
        return value;
      };
      return rdata.soa({
        mname: name(field(0)),
        rname: name(field(1)),
        serial: number(2, 0xffff_ffff),
        refresh: seconds(3),
        retry: seconds(4),
        expire: seconds(5),
        minimum: seconds(6),
      });
    }
    case TYPE.DS:
      return concat([u16(0), Uint8Array.of(number(1, 255), number(2, 255)), hex(3)]);
    case TYPE.SSHFP:
      return concat([Uint8Array.of(number(0, 255), number(1, 255)), hex(2)]);
    case TYPE.TLSA:
      return concat([Uint8Array.of(number(0, 255), number(1, 255), number(2, 255)), hex(3)]);
    case TYPE.DNSKEY:
      return concat([u16(0), Uint8Array.of(number(1, 255), number(2, 255)), Buffer.from(rest(3), 'base64')]);
    default:
      throw wrong('data of this type can only be given as \\# LENGTH HEX');
  }
}

/** Character-strings; one that is too long becomes several. */
function strings(texts: readonly string[]): Uint8Array {
  return concat(
    texts.flatMap((text) => {
      const bytes = Buffer.from(text, 'latin1');
      const parts: Uint8Array[] = [];
      for (let at = 0; at === 0 || at < bytes.length; at += 255) {
        const part = bytes.subarray(at, at + 255);
        parts.push(Uint8Array.of(part.length), part);
      }
      return parts;
    }),
  );
}
