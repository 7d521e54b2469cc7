import { CLASS, TYPE } from './constants.ts';
import { readName, WireError } from './name.ts';

/** A resource record with its data uncompressed. */
export interface Rr {
  /** Owner in wire form; undefined means the name of the question, in the question's case. */
  readonly name: Uint8Array | undefined;
  readonly type: number;
  readonly class: number;
  /** Seconds. */
  readonly ttl: number;
  readonly rdata: Uint8Array;
}

/**
 * Shape of record data that holds names: bytes before the first name and how many names follow. Only these types
 * may arrive compressed (RFC 3597 section 4); `compress` says whether we may compress them ourselves.
 */
interface NameShape {
  readonly skip: number;
  readonly names: number;
  readonly compress: boolean;
}

const SHAPES = new Map<number, NameShape>([
  [TYPE.NS, { skip: 0, names: 1, compress: true }],
  [TYPE.CNAME, { skip: 0, names: 1, compress: true }],
  [TYPE.PTR, { skip: 0, names: 1, compress: true }],
  [TYPE.SOA, { skip: 0, names: 2, compress: true }],
  [TYPE.MX, { skip: 2, names: 1, compress: true }],
  [TYPE.SRV, { skip: 6, names: 1, compress: false }],
  [TYPE.DNAME, { skip: 0, names: 1, compress: false }],
]);

export function nameShape(type: number): NameShape | undefined {
  return SHAPES.get(type);
}

/** Copies the data of one record out of a message, names expanded. */
export function readRdata(message: Uint8Array, type: number, start: number, length: number): Uint8Array {
  const end = start + length;
  if (end > message.length) throw new WireError('record data runs past the end of the message');
  const shape = SHAPES.get(type);
  if (shape === undefined || length === 0) return new Uint8Array(message.subarray(start, end));
  if (start + shape.skip > end) throw new WireError('record data too short');
  const parts: Uint8Array[] = [message.subarray(start, start + shape.skip)];
  let at = start + shape.skip;
  for (let i = 0; i < shape.names; i++) {
    const read = readName(message, at);
    parts.push(read.name);
    at = read.next;
    if (at > end) throw new WireError('name runs past the end of its record');
  }
  parts.push(message.subarray(at, end));
  return concat(parts);
}

export function concat(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of((value >> 8) & 0xff, value & 0xff);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of((value >>> 24) & 0xff, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff);
}

/** Data of a SOA record (RFC 1035 section 3.3.13); times in seconds. */
export interface Soa {
  readonly mname: Uint8Array;
  readonly rname: Uint8Array;
  readonly serial: number;
  readonly refresh: number;
  readonly retry: number;
  readonly expire: number;
  readonly minimum: number;
}

/** What a SOA record says. Undefined when the record is none, or broken. */
export function soaOf(rr: Rr): Soa | undefined {
  if (rr.type !== TYPE.SOA) return undefined;
  try {
    const mname = readName(rr.rdata, 0);
    const rname = readName(rr.rdata, mname.next);
    const view = new DataView(rr.rdata.buffer, rr.rdata.byteOffset + rname.next, rr.rdata.length - rname.next);
    const [serial, refresh, retry, expire, minimum] = [0, 4, 8, 12, 16].map((at) => view.getUint32(at)) as [
      number,
      number,
      number,
      number,
      number,
    ];
    return { mname: mname.name, rname: rname.name, serial, refresh, retry, expire, minimum };
  } catch {
    return undefined;
  }
}

export const rdata = {
  /** A or AAAA data from 4 or 16 address bytes is the bytes themselves. */
  a: (address: number): Uint8Array => u32(address),
  srv: (priority: number, weight: number, port: number, target: Uint8Array): Uint8Array =>
    concat([u16(priority), u16(weight), u16(port), target]),
  mx: (preference: number, exchange: Uint8Array): Uint8Array => concat([u16(preference), exchange]),
  soa: (soa: Soa): Uint8Array =>
    concat([
      soa.mname,
      soa.rname,
      u32(soa.serial),
      u32(soa.refresh),
      u32(soa.retry),
      u32(soa.expire),
      u32(soa.minimum),
    ]),
  /** TXT data: each string of at most 255 bytes becomes one character-string. */
  txt: (...strings: readonly string[]): Uint8Array =>
    concat(
      strings.flatMap((text) => {
        const bytes = Buffer.from(text, 'utf8').subarray(0, 255);
        return [Uint8Array.of(bytes.length), bytes];
      }),
    ),
};

/** A record of class IN. */
export function record(name: Uint8Array | undefined, type: number, ttl: number, data: Uint8Array): Rr {
  return { name, type, class: CLASS.IN, ttl, rdata: data };
}
