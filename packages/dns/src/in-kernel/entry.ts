import type { Reply } from '../server/handler.ts';
import { encodeReply, FLAG, isRejected, parseQuery, type Query, RCODE, TYPE } from '../wire/index.ts';
import { KEY, type Kind, MAX_QUESTION, slotOf, TAIL, VALUE } from './layout.ts';

/** The key of a question; undefined when it is longer than the kernel answers. `name`: wire form. */
export function questionKey(name: Uint8Array, type: number): Buffer | undefined {
  if (name.length + 4 > MAX_QUESTION) return undefined;
  const key = Buffer.alloc(KEY);
  key.set(name);
  for (let i = 0; i < name.length; i++) {
    const byte = key[i] as number;
    if (byte >= 65 && byte <= 90) key[i] = byte + 32;
  }
  key.writeUInt16BE(type, name.length);
  key.writeUInt16BE(1, name.length + 2);
  return key;
}

/** The query whose question a key is; undefined for keys that are no whole question. */
export function queryOfKey(key: Uint8Array): Query | undefined {
  let at = 0;
  while (at < KEY && key[at] !== 0) at += (key[at] as number) + 1;
  if (at + 5 > MAX_QUESTION) return undefined;
  const packet = Buffer.alloc(12 + at + 5);
  packet.writeUInt16BE(1, 4);
  packet.set(key.subarray(0, at + 5), 12);
  const query = parseQuery(packet);
  return isRejected(query) ? undefined : query;
}

export interface EntryOptions {
  /** 0 for entries that are deleted when they change. */
  readonly epoch: number;
  /** Which server block, for the counters. */
  readonly block: number;
}

/**
 * What the kernel needs to give this reply to every query like this one: cut out of the very bytes that the server would
 * send. Undefined when the reply depends on more than the question.
 */
export function entryOf(query: Query, reply: Reply, { epoch, block }: EntryOptions): Buffer | undefined {
  const { type, qname } = query;
  if (reply.own !== true || (type !== TYPE.A && type !== TYPE.AAAA) || query.class !== 1) return undefined;
  if (reply.rcode !== RCODE.NOERROR && reply.rcode !== RCODE.NXDOMAIN) return undefined;
  const bytes = encodeReply(query, reply, { size: 512, fragment: 512 });
  const question = 12 + qname.length + 4;
  const flags = bytes.readUInt16BE(2);
  if ((flags & FLAG.TC) !== 0) return undefined;
  const positive = bytes.readUInt16BE(6) > 0;
  let tail = bytes.subarray(question);
  if (positive) {
    // One address under the name that was asked for: nothing to shuffle, nothing whose letter case could differ.
    const [record] = reply.answers;
    const single = reply.answers.length === 1 && reply.authority.length === 0 && reply.additional.length === 0;
    if (!single || record?.name !== undefined || record?.type !== type) return undefined;
    tail = tail.subarray(qname.length);
  }
  if (tail.length === 0 || tail.length > TAIL) return undefined;
  const kind: Kind = positive ? 'answer' : reply.rcode === RCODE.NXDOMAIN ? 'nxdomain' : 'nodata';
  const value = Buffer.alloc(VALUE.size);
  value.writeUInt32LE(epoch, VALUE.epoch);
  value.writeUInt8(positive ? 1 : 0, VALUE.copyName);
  // The records of a negative answer are named after the zone as the client wrote it.
  value.writeUInt8(positive ? 0 : 1, VALUE.caseExact);
  value.writeUInt16LE(slotOf(block, type === TYPE.AAAA, kind), VALUE.slot);
  value.writeUInt16BE(flags & ~(FLAG.RD | FLAG.CD), VALUE.flags);
  value.writeUInt16LE(tail.length, VALUE.length);
  bytes.copy(value, VALUE.counts, 6, 12);
  value.set(tail, VALUE.tail);
  return value;
}
