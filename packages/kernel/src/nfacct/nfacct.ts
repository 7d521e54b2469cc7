import { EEXIST, ENOENT } from '../errno.ts';
import { KernelError } from '../errors.ts';
import * as C from '../netlink/constants.ts';
import { NlSocket } from '../netlink/socket.ts';
import { NlReader, NlWriter } from '../netlink/wire.ts';
import type { NetNs } from '../sys/netns.ts';

const SUBSYS = 7 << 8;
const CMD_NEW = SUBSYS;
const CMD_GET = SUBSYS | 1;
const CMD_DEL = SUBSYS | 3;
const ATTR_NAME = 1;
const ATTR_PACKETS = 2;
const ATTR_BYTES = 3;

/** Named counters that rules of x_tables count into (`-m nfacct`), over nfnetlink. */
export class NfAcct {
  readonly #socket: NlSocket;

  private constructor(socket: NlSocket) {
    this.#socket = socket;
  }

  /** Opens in a namespace, by default the caller's; the object stays there. */
  static open(ns?: NetNs): NfAcct {
    return new NfAcct(NlSocket.open(C.NETLINK_NETFILTER, ns));
  }

  close(): void {
    this.#socket.close();
  }

  /** Makes a counter of at most 31 characters; one that is there goes on counting. */
  async ensure(name: string): Promise<void> {
    const errno = await this.#ask(CMD_NEW, name, C.NLM_F_CREATE | C.NLM_F_EXCL);
    if (errno !== undefined && errno !== EEXIST)
      throw new KernelError({ errno, operation: 'add counter', object: name });
  }

  /** Undefined when there is none of that name. */
  async get(name: string): Promise<{ readonly packets: bigint; readonly bytes: bigint } | undefined> {
    let found = { packets: 0n, bytes: 0n };
    const errno = await this.#ask(CMD_GET, name, 0, (a) => {
      if (a.type === ATTR_PACKETS) found = { ...found, packets: a.u64be() };
      if (a.type === ATTR_BYTES) found = { ...found, bytes: a.u64be() };
    });
    if (errno === ENOENT) return undefined;
    if (errno !== undefined) throw new KernelError({ errno, operation: 'read counter', object: name });
    return found;
  }

  /** False when there was none. Rejects with EBUSY while a rule counts into it. */
  async del(name: string): Promise<boolean> {
    const errno = await this.#ask(CMD_DEL, name, 0);
    if (errno === ENOENT) return false;
    if (errno !== undefined) throw new KernelError({ errno, operation: 'delete counter', object: name });
    return true;
  }

  /** The error of one request. */
  async #ask(
    command: number,
    name: string,
    flags: number,
    each: (attribute: NlReader) => void = () => {},
  ): Promise<number | undefined> {
    const w = new NlWriter(64);
    w.begin(command, C.NLM_F_REQUEST | flags);
    w.put8(0);
    w.str(ATTR_NAME, name);
    w.end();
    const { failures } = await this.#socket.request(w, {
      onMessage: (m) => {
        const a = new NlReader(m.bytes, m.start + 4, m.end);
        while (a.next()) each(a);
      },
    });
    return failures[0]?.errno;
  }
}
