import { formatIp, ipBytes } from '@weft/net';

/** Ports of server and client. */
export const PORT = { server: 67, client: 68 } as const;
export const EVERYBODY = 'ff:ff:ff:ff:ff:ff';
const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
const PROTOCOL_UDP = 17;

/** A UDP packet in its Ethernet frame. */
export interface UdpFrame {
  readonly sourceMac: string;
  readonly destinationMac: string;
  readonly source: string;
  readonly destination: string;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

function macBytes(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

function macText(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** The ones' complement sum of RFC 1071. */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] as number) << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

export function encodeFrame(frame: UdpFrame): Uint8Array {
  const { payload } = frame;
  const out = new Uint8Array(ETHERNET + IPV4 + UDP + payload.length);
  const view = new DataView(out.buffer);
  out.set(macBytes(frame.destinationMac), 0);
  out.set(macBytes(frame.sourceMac), 6);
  view.setUint16(12, 0x0800);
  const ip = out.subarray(ETHERNET, ETHERNET + IPV4);
  const udp = out.subarray(ETHERNET + IPV4);
  ip.set([0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, PROTOCOL_UDP]);
  view.setUint16(ETHERNET + 2, IPV4 + UDP + payload.length);
  ip.set(ipBytes(frame.source), 12);
  ip.set(ipBytes(frame.destination), 16);
  view.setUint16(ETHERNET + 10, checksum(ip));
  const at = ETHERNET + IPV4;
  view.setUint16(at, frame.sourcePort);
  view.setUint16(at + 2, frame.destinationPort);
  view.setUint16(at + 4, UDP + payload.length);
  udp.set(payload, UDP);
  const length = UDP + payload.length;
  const pseudo = Uint8Array.of(...ip.subarray(12, 20), 0, PROTOCOL_UDP, length >> 8, length & 0xff);
  // A sum of zero means that there is none.
  view.setUint16(at + 6, checksum(pseudo, udp) || 0xffff);
  return out;
}

/** Reads a frame; undefined when it is no whole IPv4 UDP packet. The UDP checksum is not looked at. */
export function decodeFrame(bytes: Uint8Array): UdpFrame | undefined {
  if (bytes.length < ETHERNET + IPV4 + UDP) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const header = ((bytes[ETHERNET] as number) & 0xf) * 4;
  const total = view.getUint16(ETHERNET + 2);
  if (view.getUint16(12) !== 0x0800 || (bytes[ETHERNET] as number) >> 4 !== 4 || header < IPV4) return undefined;
  if (bytes[ETHERNET + 9] !== PROTOCOL_UDP || (view.getUint16(ETHERNET + 6) & 0x3fff) !== 0) return undefined;
  const at = ETHERNET + header;
  if (total < header + UDP || ETHERNET + total > bytes.length) return undefined;
  const length = view.getUint16(at + 4);
  if (length < UDP || at + length > ETHERNET + total) return undefined;
  const address = (from: number): string => formatIp(bytes.subarray(ETHERNET + from, ETHERNET + from + 4));
  return {
    destinationMac: macText(bytes.subarray(0, 6)),
    sourceMac: macText(bytes.subarray(6, 12)),
    source: address(12),
    destination: address(16),
    sourcePort: view.getUint16(at),
    destinationPort: view.getUint16(at + 2),
    payload: bytes.slice(at + UDP, at + length),
  };
}
