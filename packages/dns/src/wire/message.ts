import { FLAG, TYPE } from './constants.ts';
import { type ReadName, readName, WireError } from './name.ts';
import { concat, type Rr, readRdata } from './rdata.ts';

/** A whole DNS message, decoded: what an upstream server answered. */
export interface Message {
  readonly id: number;
  readonly flags: number;
  /** Extended response code: the OPT record's upper bits included. */
  readonly rcode: number;
  readonly question: { readonly name: Uint8Array; readonly type: number; readonly class: number } | undefined;
  readonly answers: readonly Rr[];
  readonly authority: readonly Rr[];
  /** Without the OPT record. */
  readonly additional: readonly Rr[];
  readonly opt: { readonly udpSize: number; readonly flags: number; readonly options: Uint8Array } | undefined;
}

function u16(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

/**
 * Decodes a message.
 * @throws WireError when it is malformed.
 */
export function decodeMessage(bytes: Uint8Array): Message {
  if (bytes.length < 12) throw new WireError('message shorter than its header');
  const flags = u16(bytes, 2);
  let at = 12;
  let question: Message['question'];
  for (let i = 0; i < u16(bytes, 4); i++) {
    const read = readName(bytes, at);
    if (read.next + 4 > bytes.length) throw new WireError('question runs past the end of the message');
    question ??= { name: read.name, type: u16(bytes, read.next), class: u16(bytes, read.next + 2) };
    at = read.next + 4;
  }
  let opt: Message['opt'];
  let high = 0;
  const section = (count: number): Rr[] => {
    const out: Rr[] = [];
    for (let i = 0; i < count; i++) {
      const owner: ReadName = readName(bytes, at);
      const fixed = owner.next;
      if (fixed + 10 > bytes.length) throw new WireError('record runs past the end of the message');
      const type = u16(bytes, fixed);
      const length = u16(bytes, fixed + 8);
      const data = readRdata(bytes, type, fixed + 10, length);
      at = fixed + 10 + length;
      if (type === TYPE.OPT) {
        high = bytes[fixed + 4] as number;
        opt ??= { udpSize: u16(bytes, fixed + 2), flags: u16(bytes, fixed + 6), options: data };
      } else {
        const ttl = u16(bytes, fixed + 4) * 65536 + u16(bytes, fixed + 6);
        out.push({ name: owner.name, type, class: u16(bytes, fixed + 2), ttl, rdata: data });
      }
    }
    return out;
  };
  const answers = section(u16(bytes, 6));
  const authority = section(u16(bytes, 8));
  const additional = section(u16(bytes, 10));
  return {
    id: u16(bytes, 0),
    flags,
    rcode: (high << 4) | (flags & 15),
    question,
    answers,
    authority,
    additional,
    opt,
  };
}

/** What to ask an upstream. */
export interface QuerySpec {
  readonly id: number;
  /** Header flags besides QR: RD, CD, AD and the opcode. */
  readonly flags: number;
  readonly name: Uint8Array;
  readonly type: number;
  readonly class: number;
  readonly edns?:
    | { readonly udpSize: number; readonly flags: number; readonly options: Uint8Array; readonly version?: number }
    | undefined;
}

export function encodeQuery(query: QuerySpec): Uint8Array {
  const head = new Uint8Array(12);
  const view = new DataView(head.buffer);
  view.setUint16(0, query.id);
  view.setUint16(2, query.flags & ~FLAG.QR);
  view.setUint16(4, 1);
  view.setUint16(10, query.edns === undefined ? 0 : 1);
  const tail = new Uint8Array(4);
  new DataView(tail.buffer).setUint16(0, query.type);
  new DataView(tail.buffer).setUint16(2, query.class);
  const parts = [head, query.name, tail];
  if (query.edns !== undefined) {
    const opt = new Uint8Array(11);
    const o = new DataView(opt.buffer);
    o.setUint16(1, TYPE.OPT);
    o.setUint16(3, query.edns.udpSize);
    o.setUint8(6, query.edns.version ?? 0);
    o.setUint16(7, query.edns.flags);
    o.setUint16(9, query.edns.options.length);
    parts.push(opt, query.edns.options);
  }
  return concat(parts);
}
