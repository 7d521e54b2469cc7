import { EAGAIN, EINTR, ENOBUFS } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { libc } from '../sys/libc.ts';
import type { NetNs } from '../sys/netns.ts';
import * as C from './constants.ts';
import { watchReadable } from './poll.ts';
import { receiveBuffer, setReceiveBuffer } from './socket.ts';
import { messages, type NlMessage } from './wire.ts';

/** Datagrams read before other work of the loop gets its turn. */
const TURN = 128;

export interface NlSubscription {
  close(): void;
}

/** Receives the announcements of multicast groups in the event loop; `onLost` says that some did not fit the buffer. */
export function subscribeNetlink(options: {
  readonly protocol: number;
  readonly groups: readonly number[];
  /** Namespace to listen in; closed by this call. */
  readonly ns: NetNs;
  readonly onMessage: (m: NlMessage) => void;
  readonly onLost: () => void;
  /** Receive buffer, bytes. */
  readonly buffer?: number;
}): NlSubscription {
  const c = libc();
  const fd = options.ns.run(() => c.socket(C.AF_NETLINK, C.SOCK_RAW | C.SOCK_CLOEXEC, options.protocol));
  options.ns.close();
  if (fd < 0)
    throw new KernelError({
      errno: c.errno(),
      operation: 'open netlink socket',
      object: `protocol ${options.protocol}`,
    });
  setReceiveBuffer(fd, options.buffer ?? 1 << 22);
  // Without an address of its own (the kernel picks one for zero) a socket is left out of announcements.
  const address = new Uint8Array(12);
  address[0] = C.AF_NETLINK;
  c.bind(fd, address, address.length);
  for (const group of options.groups) {
    const value = new Uint8Array(new Int32Array([group]).buffer);
    if (c.setsockopt(fd, C.SOL_NETLINK, C.NETLINK_ADD_MEMBERSHIP, value, 4) !== 0) {
      const errno = c.errno();
      c.close(fd);
      throw new KernelError({ errno, operation: 'subscribe to netlink', object: `group ${group}` });
    }
  }
  let open = true;
  const drain = (): void => {
    const buffer = receiveBuffer();
    for (let i = 0; open && i < TURN; i++) {
      const length = c.recv(fd, buffer, buffer.length, C.MSG_DONTWAIT | C.MSG_TRUNC);
      if (length < 0) {
        const errno = c.errno();
        if (errno === EINTR) continue;
        if (errno === ENOBUFS) {
          options.onLost();
          continue;
        }
        if (errno === EAGAIN) return;
        throw new KernelError({ errno, operation: 'read netlink events of', object: `protocol ${options.protocol}` });
      }
      if (length > buffer.length) {
        options.onLost();
        continue;
      }
      // A handler may make requests of its own, which use the same receive buffer: give it messages of a private copy.
      const copy = buffer.slice(0, length);
      for (const m of messages(copy, length)) {
        if (!open) return;
        if (m.type > C.NLMSG_OVERRUN) options.onMessage(m);
        else if (m.type === C.NLMSG_OVERRUN) options.onLost();
      }
    }
  };
  const watcher = watchReadable(fd, drain, () => c.close(fd));
  return {
    close: () => {
      if (!open) return;
      open = false;
      watcher.close();
    },
  };
}
