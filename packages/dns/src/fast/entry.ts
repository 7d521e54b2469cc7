import type { Reply } from '../server/handler.ts';
import { encodeReply, FLAG, type Query, RCODE, type Rr, TYPE } from '../wire/index.ts';
import { ENTRY_FLAG } from './memory.ts';

/** Part of the records that stands in the question too, and follows its letter case: its last `length` bytes. */
interface Echo {
  readonly at: number;
  readonly length: number;
}

/** A prebuilt answer. Places are counted from the start of its records. */
export interface Entry {
  /** Wire form, lower case. */
  readonly name: Uint8Array;
  readonly type: number;
  /** One of `VARIANT`, or DO and CD of the query. */
  readonly variant: number;
  /** What it depends on, at most two. */
  readonly scopes: readonly string[];
  /** Number of the sort that it is counted as. */
  readonly sort: number;
  readonly flags: number;
  readonly counts: readonly [number, number, number];
  readonly body: Uint8Array;
  readonly echoes: readonly Echo[];
  readonly ttls: readonly number[];
  /** Seconds that it was good for when it was stored, at `storedAt` milliseconds; 0 for answers that do not age. */
  readonly ttl: number;
  readonly storedAt: number;
  readonly serial: { readonly at: number; readonly source: number } | undefined;
  readonly rotate: { readonly from: number; readonly unit: number; readonly count: number } | undefined;
}

/** What an answer looks like, without what it depends on and is counted as. */
export type Shape = Pick<Entry, 'flags' | 'counts' | 'body' | 'echoes' | 'ttls' | 'rotate'> & {
  /** Place of the serial in the first SOA record. */
  readonly soaSerial: number | undefined;
};

/** Larger answers are fitted to what the client can take, which the chain does. */
const MAX_BODY = 1400;
const MAX_PATCHES = 64;
const SPREAD = new Set<number>([TYPE.A, TYPE.AAAA, TYPE.MX]);

/**
 * Takes a reply to pieces that a reader can put together for any query of the same question. `query`: in lower case and
 * without EDNS. `spread`: addresses come in another order each time. Undefined when there is more to it.
 */
export function shapeOf(query: Query, reply: Reply, spread: boolean): Shape | undefined {
  if (reply.rcode !== RCODE.NOERROR && reply.rcode !== RCODE.NXDOMAIN) return undefined;
  if ((reply.options?.length ?? 0) > 0 || query.edns !== undefined || query.qname.length > 255) return undefined;
  const records = [...reply.answers, ...reply.authority, ...reply.additional];
  if (records.length > MAX_PATCHES) return undefined;
  const bytes = encodeReply(query, reply, { size: 65535, fragment: Number.POSITIVE_INFINITY });
  const question = 12 + query.qname.length + 4;
  const body = bytes.subarray(question);
  if (body.length > MAX_BODY) return undefined;
  const rotate = spread && query.type !== TYPE.SRV ? rotation(query, reply) : undefined;
  if (rotate === 'not possible') return undefined;
  const echoes: Echo[] = [];
  const ttls: number[] = [];
  let soaSerial: number | undefined;
  let at = 0;
  for (const rr of records) {
    const owner = rr.name ?? query.qname;
    if (rr.name === undefined) echoes.push({ at, length: owner.length });
    ttls.push(at + owner.length + 4);
    const data = at + owner.length + 10;
    if (rr.type === TYPE.SOA) {
      soaSerial ??= data + rr.rdata.length - 20;
      if (rr.name !== undefined) echoes.push(...soaEchoes(query, rr, at, data));
    }
    at = data + rr.rdata.length;
  }
  const flags = bytes.readUInt16BE(2) & ~(FLAG.RD | FLAG.CD);
  const counts = [reply.answers.length, reply.authority.length, reply.additional.length] as const;
  return { flags, counts, body, echoes, ttls, rotate, soaSerial };
}

/** A denial's SOA record is named after the zone as the client wrote it, and so are the names in it. */
function soaEchoes(query: Query, rr: Rr, owner: number, data: number): Echo[] {
  const zone = rr.name as Uint8Array;
  const { length } = zone;
  const mname = nameEnd(rr.rdata, 0);
  const rname = nameEnd(rr.rdata, mname);
  return [owner, data + mname - length, data + rname - length]
    .filter((at, i) => {
      const [bytes, from] = i === 0 ? [zone, 0] : [rr.rdata, at - data];
      return from >= 0 && zone.every((_, j) => bytes[from + j] === query.qname[query.qname.length - length + j]);
    })
    .map((at) => ({ at, length }));
}

function nameEnd(bytes: Uint8Array, from: number): number {
  let at = from;
  while (bytes[at] !== 0 && at < bytes.length) at += (bytes[at] as number) + 1;
  return at + 1;
}

/** The records whose order changes: one run of equal size. */
function rotation(query: Query, reply: Reply): Entry['rotate'] | 'not possible' {
  if (reply.additional.length > 1 || reply.authority.length > 1) return 'not possible';
  const size = (rr: Rr): number => (rr.name ?? query.qname).length + 10 + rr.rdata.length;
  const first = reply.answers.findIndex((rr) => SPREAD.has(rr.type));
  if (first < 0) return undefined;
  const run = reply.answers.slice(first);
  if (run.length < 2) return undefined;
  const unit = size(run[0] as Rr);
  if (!run.every((rr) => rr.type === run[0]?.type && size(rr) === unit)) return 'not possible';
  const from = reply.answers.slice(0, first).reduce((sum, rr) => sum + size(rr), 0);
  return { from, unit, count: run.length };
}

/** True when the shape gives these very bytes for the same question in other letter case. */
export function givesForCase(shape: Shape, query: Query, reply: Reply): boolean {
  const bytes = encodeReply(query, reply, { size: 65535, fragment: Number.POSITIVE_INFINITY });
  const wanted = bytes.subarray(12 + query.qname.length + 4);
  const body = Buffer.from(shape.body);
  for (const { at, length } of shape.echoes) body.set(query.qname.subarray(query.qname.length - length), at);
  return wanted.equals(body);
}

/** Flags of an entry whose letter case is only known for lower case. */
export const LOWER_ONLY = ENTRY_FLAG.lowerOnly;
