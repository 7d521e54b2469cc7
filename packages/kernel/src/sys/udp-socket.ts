import { closeSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { watchReadable } from '../netlink/poll.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';
import { sockaddr } from './tcp.ts';

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
/** Bytes that may wait on either side; the kernel's default holds some hundred packets. */
const BUFFER = 4 << 20;
const DATAGRAM_SIZE = 65_536;
/** Datagrams that are read before other work of the event loop gets its turn. */
const TURN = 64;

/** An address and port, as the kernel takes them. */
export type UdpEndpoint = Uint8Array;

export function udpEndpoint(address: string, port: number): UdpEndpoint {
  return sockaddr(address, port).bytes;
}

/**
 * A UDP socket of one family for many small datagrams: no allocation and no queue of its own per datagram, as dgram has
 * them. What the kernel has no room for is dropped, as on the wire.
 */
export class UdpSocket {
  readonly #fd: number;
  readonly #watch: { close(): void };
  #open = true;

  private constructor(
    fd: number,
    addressLength: number,
    onDatagram: (buffer: Uint8Array, length: number, from: UdpEndpoint) => void,
  ) {
    this.#fd = fd;
    const buffer = new Uint8Array(DATAGRAM_SIZE);
    const from = new Uint8Array(addressLength);
    const size = new Uint8Array(4);
    const read = (): void => {
      const c = libc();
      for (let i = 0; i < TURN && this.#open; i++) {
        size.set([addressLength, 0, 0, 0]);
        const length = c.recvfrom(fd, buffer, buffer.length, 0, from, size);
        if (length < 0) return;
        onDatagram(buffer, length, from);
      }
    };
    this.#watch = watchReadable(fd, read, () => {});
  }

  /** Binds an address of the namespace. Buffers are reused from one datagram to the next. Throws KernelError. */
  static open(
    address: string,
    port: number,
    onDatagram: (buffer: Uint8Array, length: number, from: UdpEndpoint) => void,
    ns?: NetNs,
  ): UdpSocket {
    const c = libc();
    const { family, bytes } = sockaddr(address, port);
    const make = (): number => c.socket(family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    const fd = ns === undefined ? make() : ns.run(make);
    if (fd < 0) throw new KernelError({ errno: c.errno(), operation: 'open UDP socket', object: ns?.path ?? 'here' });
    const size = new Uint8Array(new Uint32Array([BUFFER]).buffer);
    for (const option of [SO_SNDBUFFORCE, SO_RCVBUFFORCE]) c.setsockopt(fd, SOL_SOCKET, option, size, 4);
    c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, Uint8Array.of(1, 0, 0, 0), 4);
    if (c.bind(fd, bytes, bytes.length) === 0) return new UdpSocket(fd, bytes.length, onDatagram);
    const errno = c.errno();
    closeSync(fd);
    throw new KernelError({ errno, operation: 'listen on UDP', object: `${address} port ${port}` });
  }

  /** Sends a datagram; false when it was dropped. */
  send(datagram: Uint8Array, length: number, to: UdpEndpoint): boolean {
    return this.#open && libc().sendto(this.#fd, datagram, length, 0, to, to.length) === length;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.close();
    // At once, for whoever binds next: the loop does not look at it any more.
    closeSync(this.#fd);
  }
}
