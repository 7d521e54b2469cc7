import { FLAG, OPCODE, TYPE } from './constants.ts';
import type { Query } from './query.ts';
import { nameShape, type Rr } from './rdata.ts';

/** What a server says to a query, before it is fitted to a transport. */
export interface ReplyContent {
  readonly rcode: number;
  /** AA, TC, RA and AD bits. RD and CD are mirrored from the query. */
  readonly flags: number;
  readonly answers: readonly Rr[];
  readonly authority: readonly Rr[];
  readonly additional: readonly Rr[];
  /** Replaces the TTL of every record: how cached answers age. */
  readonly ttl?: number | undefined;
  /** EDNS options of the answer; undefined echoes those of the query that a server may echo. */
  readonly options?: Uint8Array | undefined;
}

/** How large a reply may be and when it must be compressed although it fits. */
export interface Limits {
  /** Largest reply in bytes: 65535 on TCP, the client's EDNS size (at least 512) on UDP. */
  readonly size: number;
  /** Compress above this many bytes to avoid IP fragments (1480 for IPv4, 1220 for IPv6); Infinity on TCP. */
  readonly fragment: number;
}

/** Holds a full-size reply and the one record that turned out not to fit. */
const scratch = Buffer.alloc(2 * 65536 + 1024);

/** NSID, EXPIRE, COOKIE, TCP-KEEPALIVE and PADDING are echoed; all others (client subnet above all) are not. */
const ECHOED = new Set([3, 9, 10, 11, 12]);

function echoedOptions(options: Uint8Array): Uint8Array {
  if (options.length === 0) return options;
  const out: number[] = [];
  for (let at = 0; at + 4 <= options.length; ) {
    const code = ((options[at] as number) << 8) | (options[at + 1] as number);
    const end = at + 4 + (((options[at + 2] as number) << 8) | (options[at + 3] as number));
    if (ECHOED.has(code)) out.push(...options.subarray(at, end));
    at = end;
  }
  return Uint8Array.from(out);
}

function recordsLength(records: readonly Rr[], qname: number): number {
  let sum = 0;
  for (let i = 0; i < records.length; i++) {
    const rr = records[i] as Rr;
    sum += (rr.name === undefined ? qname : rr.name.length) + 10 + rr.rdata.length;
  }
  return sum;
}

function writeFixed(at: number, rr: Rr, ttl: number): number {
  scratch[at] = rr.type >> 8;
  scratch[at + 1] = rr.type & 0xff;
  scratch[at + 2] = rr.class >> 8;
  scratch[at + 3] = rr.class & 0xff;
  scratch[at + 4] = ttl >>> 24;
  scratch[at + 5] = (ttl >>> 16) & 0xff;
  scratch[at + 6] = (ttl >>> 8) & 0xff;
  scratch[at + 7] = ttl & 0xff;
  return at + 10;
}

function copy(bytes: Uint8Array, at: number): number {
  // Names and addresses are short: a loop beats the call into the engine that set() makes.
  if (bytes.length < 48) for (let i = 0; i < bytes.length; i++) scratch[at + i] = bytes[i] as number;
  else scratch.set(bytes, at);
  return at + bytes.length;
}

function writePlain(start: number, records: readonly Rr[], qname: Uint8Array, ttl: number | undefined): number {
  let at = start;
  for (let i = 0; i < records.length; i++) {
    const rr = records[i] as Rr;
    at = copy(rr.name ?? qname, at);
    at = writeFixed(at, rr, ttl ?? rr.ttl);
    scratch[at - 2] = rr.rdata.length >> 8;
    scratch[at - 1] = rr.rdata.length & 0xff;
    at = copy(rr.rdata, at);
  }
  return at;
}

/** Places in the message where names start, for pointers. Names compare byte by byte so that case survives. */
class Compressor {
  readonly #places = new Map<string, number>();

  write(name: Uint8Array, start: number, compress: boolean): number {
    let at = start;
    for (let i = 0; ; ) {
      const length = name[i] as number;
      if (length === 0) {
        scratch[at] = 0;
        return at + 1;
      }
      const suffix = Buffer.from(name.buffer, name.byteOffset + i, name.length - i).toString('latin1');
      const place = this.#places.get(suffix);
      if (place !== undefined && compress) {
        scratch[at] = 0xc0 | (place >> 8);
        scratch[at + 1] = place & 0xff;
        return at + 2;
      }
      if (place === undefined && at < 0x4000) this.#places.set(suffix, at);
      for (let j = 0; j <= length; j++) scratch[at + j] = name[i + j] as number;
      at += length + 1;
      i += length + 1;
    }
  }
}

function writeCompressed(start: number, rr: Rr, qname: Uint8Array, ttl: number, names: Compressor): number {
  let at = names.write(rr.name ?? qname, start, true);
  at = writeFixed(at, rr, ttl);
  const dataStart = at;
  const shape = nameShape(rr.type);
  if (shape === undefined || rr.rdata.length === 0) at = copy(rr.rdata, at);
  else {
    at = copy(rr.rdata.subarray(0, shape.skip), at);
    let from = shape.skip;
    for (let i = 0; i < shape.names; i++) {
      let end = from;
      while (rr.rdata[end] !== 0) end += (rr.rdata[end] as number) + 1;
      at = names.write(rr.rdata.subarray(from, end + 1), at, shape.compress);
      from = end + 1;
    }
    at = copy(rr.rdata.subarray(from), at);
  }
  scratch[dataStart - 2] = (at - dataStart) >> 8;
  scratch[dataStart - 1] = (at - dataStart) & 0xff;
  return at;
}

/** Length of the OPT record that answers `query`, and its options. */
function optOf(query: Query, reply: ReplyContent): { length: number; options: Uint8Array } | undefined {
  if (query.edns === undefined) return undefined;
  const options = reply.options ?? echoedOptions(query.edns.options);
  return { length: 11 + options.length, options };
}

function writeOpt(start: number, query: Query, rcode: number, options: Uint8Array): number {
  const edns = query.edns as NonNullable<Query['edns']>;
  scratch[start] = 0;
  scratch[start + 1] = 0;
  scratch[start + 2] = TYPE.OPT;
  scratch[start + 3] = edns.udpSize >> 8;
  scratch[start + 4] = edns.udpSize & 0xff;
  scratch[start + 5] = rcode >> 4;
  scratch[start + 6] = 0;
  // CoreDNS keeps DO and the upper reserved flags of the query's OPT and clears the rest.
  scratch[start + 7] = edns.flags >> 8;
  scratch[start + 8] = 0;
  scratch[start + 9] = options.length >> 8;
  scratch[start + 10] = options.length & 0xff;
  return copy(options, start + 11);
}

function put16(at: number, value: number): void {
  scratch[at] = (value >> 8) & 0xff;
  scratch[at + 1] = value & 0xff;
}

/** Where `writeReply` leaves a reply; good until it is called again. */
export const replyBytes: Buffer = scratch;

/** The bytes of a reply, in memory of their own. */
export function encodeReply(query: Query, reply: ReplyContent, limits: Limits): Buffer {
  return copyReply(writeReply(query, reply, limits));
}

/** The first `length` bytes of `replyBytes`, in memory of their own. */
export function copyReply(length: number): Buffer {
  const out = Buffer.allocUnsafe(length);
  scratch.copy(out, 0, 0, length);
  return out;
}

/**
 * Writes a reply to `replyBytes` and returns its length. Names are compressed only when the reply would not fit otherwise or would be fragmented;
 * whole records are dropped from the end and TC is set when even that is not enough (RFC 2181 section 9).
 */
export function writeReply(query: Query, reply: ReplyContent, limits: Limits): number {
  const { qname } = query;
  const opt = optOf(query, reply);
  const question = 12 + qname.length + 4;
  const plain =
    question +
    recordsLength(reply.answers, qname.length) +
    recordsLength(reply.authority, qname.length) +
    recordsLength(reply.additional, qname.length) +
    (opt?.length ?? 0);
  let flags = FLAG.QR | (query.flags & 0x7800) | (reply.flags & ~FLAG.QR) | (reply.rcode & 15);
  if (((query.flags >> 11) & 15) === OPCODE.QUERY) flags |= query.flags & (FLAG.RD | FLAG.CD);
  put16(0, query.id);
  put16(4, 1);
  copy(qname, 12);
  put16(question - 4, query.type);
  put16(question - 2, query.class);
  let at = question;
  let counts: readonly [number, number, number];
  if (plain <= limits.size && plain <= limits.fragment) {
    at = writePlain(at, reply.answers, qname, reply.ttl);
    at = writePlain(at, reply.authority, qname, reply.ttl);
    at = writePlain(at, reply.additional, qname, reply.ttl);
    counts = [reply.answers.length, reply.authority.length, reply.additional.length];
  } else {
    const fitted = writeFitted(question, reply, qname, limits.size - (opt?.length ?? 0));
    at = fitted.end;
    counts = fitted.counts;
    if (fitted.truncated) flags |= FLAG.TC;
  }
  if (opt !== undefined) at = writeOpt(at, query, reply.rcode, opt.options);
  put16(2, flags);
  put16(6, counts[0]);
  put16(8, counts[1]);
  put16(10, counts[2] + (opt === undefined ? 0 : 1));
  return at;
}

function writeFitted(
  start: number,
  reply: ReplyContent,
  qname: Uint8Array,
  size: number,
): { end: number; counts: [number, number, number]; truncated: boolean } {
  const names = new Compressor();
  names.write(qname, 12, true);
  const sections = [reply.answers, reply.authority, reply.additional];
  const counts: [number, number, number] = [0, 0, 0];
  let at = start;
  let full = false;
  sections.forEach((records, section) => {
    for (const rr of records) {
      if (full || at >= size) {
        full = true;
        return;
      }
      const next = writeCompressed(at, rr, qname, reply.ttl ?? rr.ttl, names);
      if (next > size) {
        full = true;
        return;
      }
      at = next;
      counts[section] = (counts[section] as number) + 1;
    }
  });
  return { end: at, counts, truncated: full };
}
