import { formatIp, ipBytes } from '@weft/net';

/** DHCP message types (RFC 2132 §9.6). */
export const TYPE = {
  DISCOVER: 1,
  OFFER: 2,
  REQUEST: 3,
  DECLINE: 4,
  ACK: 5,
  NAK: 6,
  RELEASE: 7,
} as const;

/** Option codes (RFC 2132, 3442). */
export const OPTION = {
  SUBNET_MASK: 1,
  ROUTER: 3,
  HOST_NAME: 12,
  STATIC_ROUTES: 33,
  REQUESTED_IP: 50,
  LEASE_TIME: 51,
  OVERLOAD: 52,
  MESSAGE_TYPE: 53,
  SERVER_ID: 54,
  PARAMETER_LIST: 55,
  MESSAGE: 56,
  MAX_SIZE: 57,
  RENEWAL_TIME: 58,
  REBINDING_TIME: 59,
  VENDOR_CLASS: 60,
  CLIENT_ID: 61,
  USER_CLASS: 77,
  CLASSLESS_ROUTES: 121,
} as const;

const HEADER = 236;
const COOKIE = [99, 130, 83, 99] as const;
const SNAME = { at: 44, length: 64 } as const;
const FILE = { at: 108, length: 128 } as const;
const BROADCAST = 0x8000;
/** Shortest message that old servers and relays take (RFC 1542 §2.1). */
const MIN_LENGTH = 300;

/** A DHCPv4 message (RFC 2131 §2). Addresses are texts; `0.0.0.0` is none. */
export interface DhcpMessage {
  /** 1 from the client, 2 from the server. */
  readonly op: 1 | 2;
  readonly xid: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** The server is to answer by broadcast. */
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  /** Hardware address, 6 bytes. */
  readonly chaddr: Uint8Array;
  /** Options but pad and end, each once, in order. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export function messageType(message: DhcpMessage): number {
  return message.options.get(OPTION.MESSAGE_TYPE)?.[0] ?? 0;
}

/** An option that is one address. */
export function addressOption(message: DhcpMessage, code: number): string | undefined {
  const value = message.options.get(code);
  return value !== undefined && value.length >= 4 ? formatIp(value.subarray(0, 4)) : undefined;
}

/** An option that is a number of 32 bits. */
export function numberOption(message: DhcpMessage, code: number): number | undefined {
  const value = message.options.get(code);
  return value === undefined || value.length !== 4
    ? undefined
    : new DataView(value.buffer, value.byteOffset, 4).getUint32(0);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

/** The bytes of a message. Options longer than 255 bytes are cut into several of the same code (RFC 3396). */
export function encodeMessage(message: DhcpMessage): Uint8Array {
  const options: number[] = [];
  for (const [code, value] of message.options) {
    for (let at = 0; at === 0 || at < value.length; at += 255) {
      const part = value.subarray(at, at + 255);
      options.push(code, part.length, ...part);
    }
  }
  options.push(255);
  const out = new Uint8Array(Math.max(HEADER + COOKIE.length + options.length, MIN_LENGTH));
  const view = new DataView(out.buffer);
  out.set([message.op, 1, 6, 0]);
  view.setUint32(4, message.xid);
  view.setUint16(8, Math.min(message.secs, 0xffff));
  view.setUint16(10, message.broadcast ? BROADCAST : 0);
  [message.ciaddr, message.yiaddr, message.siaddr, message.giaddr].forEach((text, i) =>
    out.set(ipBytes(text), 12 + i * 4),
  );
  out.set(message.chaddr.subarray(0, 16), 28);
  out.set(COOKIE, HEADER);
  out.set(options, HEADER + COOKIE.length);
  return out;
}

/** Reads a message; undefined when the bytes are none of Ethernet clients. What is malformed in it is left out. */
export function decodeMessage(bytes: Uint8Array): DhcpMessage | undefined {
  if (bytes.length < HEADER + COOKIE.length || (bytes[0] !== 1 && bytes[0] !== 2)) return undefined;
  if (bytes[1] !== 1 || bytes[2] !== 6 || COOKIE.some((byte, i) => bytes[HEADER + i] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const options = new Map<number, Uint8Array>();
  readOptions(bytes.subarray(HEADER + COOKIE.length), options);
  // Options that did not fit go on in fields that would otherwise name a boot file and server (RFC 2132 §9.3).
  const overload = options.get(OPTION.OVERLOAD)?.[0] ?? 0;
  if ((overload & 1) !== 0) readOptions(bytes.subarray(FILE.at, FILE.at + FILE.length), options);
  if ((overload & 2) !== 0) readOptions(bytes.subarray(SNAME.at, SNAME.at + SNAME.length), options);
  options.delete(OPTION.OVERLOAD);
  const address = (at: number): string => formatIp(bytes.subarray(at, at + 4));
  return {
    op: bytes[0],
    xid: view.getUint32(4),
    secs: view.getUint16(8),
    broadcast: (view.getUint16(10) & BROADCAST) !== 0,
    ciaddr: address(12),
    yiaddr: address(16),
    siaddr: address(20),
    giaddr: address(24),
    chaddr: bytes.slice(28, 34),
    options,
  };
}

function readOptions(bytes: Uint8Array, into: Map<number, Uint8Array>): void {
  let at = 0;
  while (at < bytes.length) {
    const code = bytes[at] as number;
    at += 1;
    if (code === 255) return;
    if (code === 0) continue;
    const length = bytes[at];
    if (length === undefined || at + 1 + length > bytes.length) return;
    const value = bytes.slice(at + 1, at + 1 + length);
    const before = into.get(code);
    into.set(code, before === undefined ? value : Uint8Array.of(...before, ...value));
    at += 1 + length;
  }
}
