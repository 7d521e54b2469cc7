import { EINTR } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { watchReadable } from '../netlink/poll.ts';
import { address } from '../bpf/call.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const MSG_DONTWAIT = 0x40;
const FRAME_SIZE = 65_536;
/** Frames that are read before other work of the event loop gets its turn. */
const TURN = 64;

/** One instruction of classic BPF: code, jump if true, jump if false, operand. */
type Instruction = readonly [code: number, jt: number, jf: number, k: number];

/** Unfragmented IPv4 UDP to one port, of Ethernet frames (what `tcpdump -dd udp dst port N` prints). */
function udpTo(port: number): readonly Instruction[] {
  return [
    [0x28, 0, 0, 12],
    [0x15, 0, 8, 0x0800],
    [0x30, 0, 0, 23],
    [0x15, 0, 6, 17],
    [0x28, 0, 0, 20],
    [0x45, 4, 0, 0x1fff],
    [0xb1, 0, 0, 14],
    [0x48, 0, 0, 16],
    [0x15, 0, 1, port],
    [0x06, 0, 0, 0x40000],
    [0x06, 0, 0, 0],
  ];
}

/** Sends and receives Ethernet frames on one link (packet(7)); what it receives are IPv4 UDP packets to one port. */
export class PacketSocket {
  readonly #fd: number;
  readonly #watch: { close(): void };

  private constructor(fd: number, onFrame: (frame: Uint8Array) => void) {
    this.#fd = fd;
    const buffer = new Uint8Array(FRAME_SIZE);
    const read = (): void => {
      for (let i = 0; i < TURN; i++) {
        const length = libc().recv(fd, buffer, buffer.length, MSG_DONTWAIT);
        if (length < 0) {
          const errno = libc().errno();
          // All is read, or the link went down, which is said once.
          if (errno !== EINTR) return;
          continue;
        }
        onFrame(buffer.slice(0, length));
      }
    };
    this.#watch = watchReadable(fd, read, () => libc().close(fd));
  }

  /**
   * Opens on a link (interface index) of a namespace. `onFrame` gets whole frames, checksums unchecked: links of one
   * machine leave them to be filled in. Throws KernelError.
   */
  static open(options: {
    readonly ns?: NetNs;
    readonly index: number;
    readonly udpPort: number;
    readonly onFrame: (frame: Uint8Array) => void;
  }): PacketSocket {
    const c = libc();
    const { ns, index, udpPort } = options;
    // Protocol 0: nothing is received before the filter is there and the link is chosen.
    const make = (): number => c.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
    const fd = ns === undefined ? make() : ns.run(make);
    const fail = (operation: string): KernelError => {
      const error = new KernelError({ errno: c.errno(), operation, object: `link ${index}` });
      if (fd >= 0) c.close(fd);
      return error;
    };
    if (fd < 0) throw fail('open packet socket on');
    const program = Buffer.alloc(11 * 8);
    udpTo(udpPort).forEach(([code, jt, jf, k], i) => {
      program.writeUInt16LE(code, i * 8);
      program.writeUInt8(jt, i * 8 + 2);
      program.writeUInt8(jf, i * 8 + 3);
      program.writeUInt32LE(k, i * 8 + 4);
    });
    const head = Buffer.alloc(16);
    head.writeUInt16LE(program.length / 8, 0);
    head.writeBigUInt64LE(address(program), 8);
    if (c.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, head, head.length) !== 0) throw fail('filter packets of');
    const where = Buffer.alloc(20);
    where.writeUInt16LE(AF_PACKET, 0);
    where.writeUInt16BE(0x0800, 2);
    where.writeInt32LE(index, 4);
    if (c.bind(fd, where, where.length) !== 0) throw fail('bind packet socket to');
    return new PacketSocket(fd, options.onFrame);
  }

  /** Sends a whole frame. Throws KernelError (ENETDOWN when the link is down). */
  send(frame: Uint8Array): void {
    const c = libc();
    if (c.send(this.#fd, frame, frame.length, 0) >= 0) return;
    throw new KernelError({ errno: c.errno(), operation: 'send a frame of', object: `${frame.length} bytes` });
  }

  close(): void {
    this.#watch.close();
  }
}
