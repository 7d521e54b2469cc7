import type { AttributeContext } from './attributes.ts';
import { Reader, ShortRead, Writer } from './bytes.ts';
import { readCapabilities, writeCapabilities } from './capabilities.ts';
import { BgpError, NOTIFY } from './errors.ts';
import { frame } from './frame.ts';
import { AFI, familyOfAfi, SAFI_UNICAST } from './prefixes.ts';
import {
  AS_TRANS,
  type BgpMessage,
  HEADER_BYTES,
  type KeepaliveMessage,
  MAX_MESSAGE_BYTES,
  type NotificationMessage,
  type OpenMessage,
  type RouteRefreshMessage,
} from './types.ts';
import { decodeUpdate } from './update.ts';

const TYPE = { open: 1, update: 2, notification: 3, keepalive: 4, routeRefresh: 5 } as const;
/** Shortest message of each type. */
const SHORTEST: Readonly<Record<number, number>> = { 1: 29, 2: 23, 3: 21, 4: 19, 5: 23 };
const VERSION = 4;

/** Messages that are encoded whole; UPDATEs are packed by `encodeAnnouncements` and its fellows. */
export type SimpleMessage = OpenMessage | NotificationMessage | KeepaliveMessage | RouteRefreshMessage;

export function encodeMessage(message: SimpleMessage): Uint8Array {
  const w = new Writer(64);
  switch (message.type) {
    case 'open':
      w.u8(VERSION);
      w.u16(message.as > 0xffff ? AS_TRANS : message.as);
      w.u16(message.holdTime);
      w.ip(message.routerId);
      writeCapabilities(w, message.capabilities);
      return frame(TYPE.open, w.done());
    case 'notification':
      w.u8(message.code);
      w.u8(message.subcode);
      w.put(message.data.subarray(0, MAX_MESSAGE_BYTES - HEADER_BYTES - 2));
      return frame(TYPE.notification, w.done());
    case 'keepalive':
      return frame(TYPE.keepalive, w.done());
    case 'route-refresh':
      w.u16(AFI[message.family ?? 4]);
      w.u8(0);
      w.u8(SAFI_UNICAST);
      return frame(TYPE.routeRefresh, w.done());
  }
}

function decodeOpen(r: Reader): OpenMessage {
  const version = r.u8();
  if (version !== VERSION) throw new BgpError(NOTIFY.open, 1, `version ${version}`, Uint8Array.of(0, VERSION));
  const as2 = r.u16();
  const holdTime = r.u16();
  const id = r.take(4);
  const capabilities = readCapabilities(r);
  const as = capabilities.as4 ?? as2;
  if (as === 0) throw new BgpError(NOTIFY.open, 2, 'AS 0');
  if (holdTime === 1 || holdTime === 2) throw new BgpError(NOTIFY.open, 6, `${holdTime} s`);
  if (id.every((byte) => byte === 0)) throw new BgpError(NOTIFY.open, 3, '0.0.0.0');
  return { type: 'open', as, holdTime, routerId: id.join('.'), capabilities };
}

/** Length of the message at the start of `header`, checked (RFC 4271 §6.1). Throws BgpError. */
function messageLength(header: Uint8Array): number {
  for (let i = 0; i < 16; i++) if (header[i] !== 0xff) throw new BgpError(NOTIFY.header, 1, 'the marker is wrong');
  const length = ((header[16] as number) << 8) | (header[17] as number);
  const type = header[18] as number;
  const shortest = SHORTEST[type];
  if (shortest === undefined) throw new BgpError(NOTIFY.header, 3, `type ${type}`, Uint8Array.of(type));
  const fits = length >= shortest && length <= MAX_MESSAGE_BYTES && (type !== TYPE.keepalive || length === shortest);
  if (!fits) throw new BgpError(NOTIFY.header, 2, `${length} bytes of type ${type}`, header.slice(16, 18));
  return length;
}

/** Reads one whole message. Throws BgpError for everything that ends the session, and nothing else. */
export function decodeMessage(bytes: Uint8Array, context: AttributeContext): BgpMessage {
  const length = messageLength(bytes);
  if (bytes.length !== length) throw new BgpError(NOTIFY.header, 2, `${bytes.length} bytes, not ${length}`);
  const r = new Reader(bytes, HEADER_BYTES);
  try {
    switch (bytes[18]) {
      case TYPE.open:
        return decodeOpen(r);
      case TYPE.update:
        return decodeUpdate(r, context);
      case TYPE.notification:
        return { type: 'notification', code: r.u8(), subcode: r.u8(), data: r.take(r.left).slice() };
      case TYPE.routeRefresh: {
        if (r.left !== 4) throw new BgpError(NOTIFY.header, 2, 'ROUTE-REFRESH');
        const afi = r.u16();
        r.u8();
        return { type: 'route-refresh', family: familyOfAfi(afi, r.u8()) };
      }
      default:
        return { type: 'keepalive' };
    }
  } catch (error) {
    if (error instanceof ShortRead) throw new BgpError(NOTIFY.header, 2, error.message);
    throw error;
  }
}

/** Cuts a byte stream into messages, keeping at most one unfinished message. */
export class MessageStream {
  #kept: Uint8Array = new Uint8Array();

  /** Messages that are whole now, in order. Throws BgpError when the stream is no BGP; it must not be used after that. */
  *push(chunk: Uint8Array): Generator<Uint8Array> {
    let bytes = chunk;
    if (this.#kept.length > 0) {
      bytes = new Uint8Array(this.#kept.length + chunk.length);
      bytes.set(this.#kept);
      bytes.set(chunk, this.#kept.length);
    }
    let at = 0;
    while (bytes.length - at >= HEADER_BYTES) {
      const length = messageLength(bytes.subarray(at, at + HEADER_BYTES));
      if (bytes.length - at < length) break;
      yield bytes.subarray(at, at + length);
      at += length;
    }
    this.#kept = bytes.slice(at);
  }
}
