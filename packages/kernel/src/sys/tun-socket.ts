import { closeSync, constants, openSync } from 'node:fs';
import { EINTR } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { watchReadable } from '../netlink/poll.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';
import { IFF_NO_PI, IFF_TUN, TUNSETIFF } from './tuntap.ts';

const IFNAMSIZ = 16;
const IFREQ_SIZE = 40;
/** Largest IP packet. */
const PACKET_SIZE = 65_536;
/** Packets that are read before other work of the event loop gets its turn. */
const TURN = 64;
const EAGAIN = 11;

/** The user-space end of a tun device: what the kernel routes there is read here, what is written here it receives. */
export class TunSocket {
  readonly #fd: number;
  readonly #watch: { close(): void };
  #open = true;

  private constructor(fd: number, onPacket: (buffer: Uint8Array, length: number) => void) {
    this.#fd = fd;
    const buffer = new Uint8Array(PACKET_SIZE);
    const read = (): void => {
      const c = libc();
      for (let i = 0; i < TURN && this.#open; i++) {
        const length = c.read(fd, buffer, buffer.length);
        if (length > 0) onPacket(buffer, length);
        else if (length === 0 || c.errno() !== EINTR) {
          // The device is gone (EBADFD): its descriptor would be readable for ever.
          if (length === 0 || c.errno() !== EAGAIN) this.close();
          return;
        }
      }
    };
    this.#watch = watchReadable(fd, read, () => {});
  }

  /**
   * Takes the user-space end of a persistent tun device. `onPacket` gets one IP packet at a time, in a buffer that holds
   * the next one afterwards. Throws KernelError; EBUSY when another program has it.
   */
  static open(name: string, onPacket: (buffer: Uint8Array, length: number) => void, ns?: NetNs): TunSocket {
    const request = new Uint8Array(IFREQ_SIZE);
    request.set(Buffer.from(name));
    new DataView(request.buffer).setUint16(IFNAMSIZ, IFF_TUN | IFF_NO_PI, true);
    const c = libc();
    // The device is looked for where the file was opened.
    const attach = (): readonly [fd: number, errno: number] => {
      const file = openSync('/dev/net/tun', constants.O_RDWR | constants.O_NONBLOCK);
      return [file, c.ioctl(file, TUNSETIFF, request) < 0 ? c.errno() : 0];
    };
    const [fd, errno] = ns === undefined ? attach() : ns.run(attach);
    if (errno === 0) return new TunSocket(fd, onPacket);
    closeSync(fd);
    throw new KernelError({ errno, operation: 'attach to tun device', object: name });
  }

  /** False once the device is gone. */
  get open(): boolean {
    return this.#open;
  }

  /** Hands a packet to the kernel; false when it does not take it. */
  write(packet: Uint8Array, length = packet.length): boolean {
    return this.#open && libc().write(this.#fd, packet, length) === length;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#watch.close();
    // At once, for whoever attaches next: the loop does not look at it any more.
    closeSync(this.#fd);
  }
}
