import { type NetNs, TunSocket, type UdpEndpoint, udpEndpoint, UdpSocket } from '@weft/kernel';
import type { TunDevice } from '../entries.ts';
import { PeerTable } from './peers.ts';
import { Opener, SEAL_BYTES, Sealer } from './seal.ts';

/** Packets that went through the overlay, and those that did not. */
export interface OverlayCounts {
  sent: number;
  received: number;
  /** No peer for the destination, or no room in the kernel. */
  unsent: number;
  /** From nobody we know, not sealed with our key, or not taken by the kernel. */
  refused: number;
}

/** The user-space tunnel: packets of a tun device in datagrams to the node that has their destination, and back. */
export class Overlay {
  readonly counts: OverlayCounts = { sent: 0, received: 0, unsent: 0, refused: 0 };
  readonly #ns: NetNs | undefined;
  readonly #sealer: Sealer | undefined;
  readonly #opener: Opener | undefined;
  readonly #peers = new PeerTable<UdpEndpoint>();
  /** By block, to know who may send: several blocks lead to one node. */
  readonly #endpoints = new Map<string, string>();
  readonly #out = new Uint8Array(65_536 + SEAL_BYTES);
  #senders = new Set<string>();
  #device: TunDevice | undefined;
  #tun: TunSocket | undefined;
  #udp: UdpSocket | undefined;

  /** `keys` are of KEY_BYTES each: the first seals, all open; without any, packets go as they are. */
  constructor(keys: readonly Uint8Array[], ns: NetNs | undefined) {
    this.#ns = ns;
    const [first] = keys;
    if (first === undefined) return;
    this.#sealer = new Sealer(first);
    this.#opener = new Opener(keys);
  }

  /** The device that is served now. */
  get device(): TunDevice | undefined {
    return this.#tun?.open === true ? this.#device : undefined;
  }

  /** Serves a device that exists. Throws KernelError. */
  attach(device: TunDevice): void {
    this.detach();
    const { name, local, port } = device;
    this.#device = device;
    this.#tun = TunSocket.open(name, (packet, length) => this.#send(packet, length), this.#ns);
    try {
      this.#udp = UdpSocket.open(local, port, (data, length, from) => this.#receive(data, length, from), this.#ns);
    } catch (error) {
      this.detach();
      throw error;
    }
    this.#learnSenders();
  }

  /** Lets the device go; it stays, and what the kernel sends there is lost. */
  detach(): void {
    this.#tun?.close();
    this.#udp?.close();
    this.#tun = undefined;
    this.#udp = undefined;
  }

  set(dst: string, endpoint: string, port: number): void {
    this.#peers.set(dst, udpEndpoint(endpoint, port));
    this.#endpoints.set(dst, endpoint);
    this.#learnSenders();
  }

  delete(dst: string): void {
    this.#peers.delete(dst);
    this.#endpoints.delete(dst);
    this.#learnSenders();
  }

  #learnSenders(): void {
    const port = this.#device?.port ?? 0;
    this.#senders = new Set([...this.#endpoints.values()].map((ip) => senderOf(udpEndpoint(ip, port))));
  }

  #send(packet: Uint8Array, length: number): void {
    const peer = this.#peers.find(packet, length);
    if (peer === undefined) this.counts.unsent++;
    else {
      const sealed = this.#sealer?.seal(packet, length, this.#out);
      const sent = this.#udp?.send(sealed === undefined ? packet : this.#out, sealed ?? length, peer);
      if (sent === true) this.counts.sent++;
      else this.counts.unsent++;
    }
  }

  #receive(datagram: Uint8Array, length: number, from: UdpEndpoint): void {
    let packet: Uint8Array | undefined = datagram;
    let size = length;
    if (this.#opener !== undefined) {
      packet = this.#opener.open(datagram, length);
      size = packet?.length ?? 0;
    } else if (!this.#senders.has(senderOf(from))) packet = undefined;
    if (packet !== undefined && size > 0 && this.#tun?.write(packet, size) === true) this.counts.received++;
    else this.counts.refused++;
  }
}

/** Family, port and address of an endpoint; an IPv6 one has a flow label and a scope besides, which do not matter. */
function senderOf(endpoint: UdpEndpoint): string {
  const at = endpoint.length === 16 ? 4 : 8;
  return Buffer.from(endpoint.buffer, endpoint.byteOffset + at, endpoint.length === 16 ? 4 : 16).toString('latin1');
}
