import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const ETH_P_ARP = 0x0806;
const ETH_P_IPV6 = 0x86dd;

function mac(text: string): Uint8Array {
  return Uint8Array.from(text.split(':'), (part) => Number.parseInt(part, 16));
}

/** The sum of 16-bit words that IPv6 puts over its pseudo header and an ICMPv6 message (RFC 4443 §2.3). */
function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts)
    for (let i = 0; i < part.length; i += 2) sum += ((part[i] as number) << 8) | (part[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A gratuitous ARP request (RFC 5227 §3): everybody on the link learns that `address` is at `hardware`. */
export function gratuitousArp(hardware: string, address: Uint8Array): Uint8Array {
  const from = mac(hardware);
  const frame = new Uint8Array(42);
  frame.fill(0xff, 0, 6);
  frame.set(from, 6);
  frame.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1], 12);
  frame.set(from, 22);
  frame.set(address, 28);
  frame.set(address, 38);
  return frame;
}

/** An unsolicited neighbour advertisement with the override flag, to all nodes of the link (RFC 4861 §7.2.6). */
export function unsolicitedAdvertisement(hardware: string, address: Uint8Array): Uint8Array {
  const from = mac(hardware);
  const everyone = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
  const message = new Uint8Array(32);
  message.set([136, 0, 0, 0, 0x20]);
  message.set(address, 8);
  message.set([2, 1], 24);
  message.set(from, 26);
  const pseudo = Uint8Array.of(...address, ...everyone, 0, 0, 0, message.length, 0, 0, 0, 58);
  const sum = checksum(pseudo, message);
  message.set([sum >> 8, sum & 0xff], 2);
  const header = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1, ...from, 0x86, 0xdd);
  const ip = Uint8Array.of(0x60, 0, 0, 0, 0, message.length, 58, 255, ...address, ...everyone);
  return Uint8Array.of(...header, ...ip, ...message);
}

/**
 * Tells everybody on a link that an address is here from now on: by ARP for IPv4, by neighbour discovery for IPv6, so that
 * they stop sending to where it was. `hardware` is the link's own address. Throws KernelError.
 */
export function announceAddress(
  link: { readonly index: number; readonly hardware: string },
  address: Uint8Array,
  ns?: NetNs,
): void {
  const c = libc();
  const protocol = address.length === 4 ? ETH_P_ARP : ETH_P_IPV6;
  const frame =
    address.length === 4 ? gratuitousArp(link.hardware, address) : unsolicitedAdvertisement(link.hardware, address);
  // Protocol 0: the socket is there to send, and is not to be handed every packet of the link.
  const open = (): number => c.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  const fd = ns === undefined ? open() : ns.run(open);
  const fail = (operation: string): KernelError =>
    new KernelError({ errno: c.errno(), operation, object: `link ${link.index}` });
  if (fd < 0) throw fail('open packet socket on');
  try {
    const where = new Uint8Array(20);
    const view = new DataView(where.buffer);
    view.setUint16(0, AF_PACKET, true);
    view.setUint16(2, protocol);
    view.setInt32(4, link.index, true);
    if (c.bind(fd, where, where.length) !== 0) throw fail('bind packet socket to');
    if (c.send(fd, frame, frame.length, 0) < 0) throw fail('announce an address on');
  } finally {
    c.close(fd);
  }
}
