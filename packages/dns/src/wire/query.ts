import { FLAG, OPCODE, RCODE, TYPE } from './constants.ts';
import { decodeMessage } from './message.ts';
import { MAX_NAME, type NameKey } from './name.ts';
import { soaOf } from './rdata.ts';

/** The EDNS(0) pseudo-record of a query (RFC 6891). */
interface Edns {
  readonly udpSize: number;
  readonly version: number;
  /** The low 16 bits of the OPT record's TTL: DO and the reserved flags. */
  readonly flags: number;
  /** Options as they stood on the wire. */
  readonly options: Uint8Array;
}

export const EDNS_DO = 0x8000;

/** A well-formed query of one question. */
export interface Query {
  readonly id: number;
  /** Second header word as received. */
  readonly flags: number;
  /** The question's name in wire form, case as sent. */
  readonly qname: Uint8Array;
  /** The name in lower case, as tables are keyed. */
  readonly key: NameKey;
  /** Start of every label in `key`, root excluded. */
  readonly labels: readonly number[];
  readonly type: number;
  readonly class: number;
  readonly edns: Edns | undefined;
  /** Serial of the zone that the client has; only of IXFR queries (RFC 1995). */
  readonly serial?: number | undefined;
}

/** What to do with a packet that is not a query to be answered by the chain. */
type Rejected = { readonly drop: true } | { readonly drop: false; readonly reply: Uint8Array };

const DROP: Rejected = { drop: true };
const EMPTY = new Uint8Array(0);
// `toString('latin1')` without its checks of arguments, which cost as much as the conversion.
const lowered = Buffer.alloc(MAX_NAME) as Buffer & { latin1Slice(start: number, end: number): string };

/**
 * A bare 12-byte header. NOTIMP keeps the opcode and FORMERR clears it; the other bits of the query stay, as CoreDNS
 * answers (observed on 1.14).
 */
function header(packet: Uint8Array, rcode: number): Rejected {
  const reply = new Uint8Array(12);
  reply.set(packet.subarray(0, 4));
  const flags = ((packet[2] as number) << 8) | (packet[3] as number);
  const keep = rcode === RCODE.NOTIMP ? 0x7bb0 : 0x03b0;
  const out = FLAG.QR | (flags & keep) | rcode;
  reply[2] = out >> 8;
  reply[3] = out & 0xff;
  return { drop: false, reply };
}

/** Skips a name in the additional section. Returns -1 when it is broken. */
function skipName(packet: Uint8Array, start: number): number {
  let at = start;
  for (;;) {
    const length = packet[at];
    if (length === undefined) return -1;
    if (length === 0) return at + 1;
    if (length >= 0xc0) return at + 2 <= packet.length ? at + 2 : -1;
    if (length > 63) return -1;
    at += length + 1;
  }
}

function parseEdns(packet: Uint8Array, start: number, records: number): Edns | undefined | false {
  let at = start;
  for (let i = 0; i < records; i++) {
    // Header counts larger than the content are forgiven, as CoreDNS does.
    if (at === packet.length) return undefined;
    const fixed = skipName(packet, at);
    if (fixed < 0 || fixed + 10 > packet.length) return false;
    const type = ((packet[fixed] as number) << 8) | (packet[fixed + 1] as number);
    const length = ((packet[fixed + 8] as number) << 8) | (packet[fixed + 9] as number);
    const data = fixed + 10;
    if (data + length > packet.length) return false;
    if (type === TYPE.OPT) {
      if (!optionsFit(packet, data, data + length)) return false;
      return {
        udpSize: ((packet[fixed + 2] as number) << 8) | (packet[fixed + 3] as number),
        version: packet[fixed + 5] as number,
        flags: ((packet[fixed + 6] as number) << 8) | (packet[fixed + 7] as number),
        options: length === 0 ? EMPTY : new Uint8Array(packet.subarray(data, data + length)),
      };
    }
    at = data + length;
  }
  return undefined;
}

function optionsFit(packet: Uint8Array, start: number, end: number): boolean {
  let at = start;
  while (at < end) {
    if (at + 4 > end) return false;
    at += 4 + (((packet[at + 2] as number) << 8) | (packet[at + 3] as number));
  }
  return at === end;
}

/**
 * Reads a query. A packet that is no answerable query gives what to do instead: nothing for responses and fragments,
 * NOTIMP for other opcodes (NOTIFY is answered like a query), FORMERR for the rest.
 */
export function parseQuery(packet: Uint8Array): Query | Rejected {
  const size = packet.length;
  if (size < 12) return DROP;
  const flags = ((packet[2] as number) << 8) | (packet[3] as number);
  if ((flags & FLAG.QR) !== 0) return DROP;
  const opcode = (flags >> 11) & 15;
  if (opcode !== OPCODE.QUERY && opcode !== OPCODE.NOTIFY) return header(packet, RCODE.NOTIMP);
  const additional = ((packet[10] as number) << 8) | (packet[11] as number);
  const before = (packet[7] as number) + (packet[9] as number);
  if (packet[4] !== 0 || packet[5] !== 1) return header(packet, RCODE.FORMERR);
  if (packet[6] !== 0 || (packet[7] as number) > 1 || packet[8] !== 0 || (packet[9] as number) > 1 || additional > 2) {
    return header(packet, RCODE.FORMERR);
  }

  const labels: number[] = [];
  let at = 12;
  for (;;) {
    const length = packet[at];
    if (length === undefined || length > 63) return header(packet, RCODE.FORMERR);
    const end = at + length + 1;
    if (end - 12 > MAX_NAME || end > size) return header(packet, RCODE.FORMERR);
    lowered[at - 12] = length;
    if (length === 0) {
      at = end;
      break;
    }
    labels.push(at - 12);
    for (let i = at + 1; i < end; i++) {
      const byte = packet[i] as number;
      lowered[i - 12] = byte >= 65 && byte <= 90 ? byte + 32 : byte;
    }
    at = end;
  }
  if (at + 4 > size) return header(packet, RCODE.FORMERR);
  // A copy: the packet's memory is used again while an upstream is asked. Small arrays cost no more than a view.
  const qname = new Uint8Array(at - 12);
  for (let i = 12; i < at; i++) qname[i - 12] = packet[i] as number;
  const edns = additional + before === 0 ? undefined : parseEdns(packet, at + 4, before + additional);
  if (edns === false) return header(packet, RCODE.FORMERR);
  const type = ((packet[at] as number) << 8) | (packet[at + 1] as number);
  const query: Query = {
    id: ((packet[0] as number) << 8) | (packet[1] as number),
    flags,
    qname,
    key: lowered.latin1Slice(0, at - 12),
    labels,
    type,
    class: ((packet[at + 2] as number) << 8) | (packet[at + 3] as number),
    edns,
  };
  // No copy on the way that nearly every query takes.
  return type === TYPE.IXFR ? { ...query, serial: clientSerial(packet) } : query;
}

function clientSerial(packet: Uint8Array): number | undefined {
  try {
    const soa = decodeMessage(packet).authority[0];
    return soa === undefined ? undefined : soaOf(soa)?.serial;
  } catch {
    return undefined;
  }
}

export function isRejected(value: Query | Rejected): value is Rejected {
  return 'drop' in value;
}
