import { closeSync, openSync, rmSync } from 'node:fs';
import { EAGAIN, EINTR, EPROTO } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { watchReadable } from '../netlink/poll.ts';
import { libc } from './libc.ts';

const O_RDWR = 2;
const O_NOCTTY = 0o400;
const O_CLOEXEC = 0o2000000;
const TIOCSPTLCK = 0x40045431;
const TIOCGPTN = 0x80045430;
const TIOCSWINSZ = 0x5414;

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SCM_RIGHTS = 1;
const SOL_SOCKET = 1;

/** A new pseudo terminal: the master's descriptor, and the path of the slave. Close the master after use. */
export function openPty(): { readonly fd: number; readonly path: string } {
  const fd = openSync('/dev/ptmx', O_RDWR | O_NOCTTY | O_CLOEXEC);
  const c = libc();
  const unlock = new Uint8Array(4);
  const number = new Uint8Array(4);
  if (c.ioctl(fd, TIOCSPTLCK, unlock) !== 0 || c.ioctl(fd, TIOCGPTN, number) !== 0) {
    const errno = c.errno();
    closeSync(fd);
    throw new KernelError({ errno, operation: 'open pseudo terminal', object: '/dev/ptmx' });
  }
  return { fd, path: `/dev/pts/${new DataView(number.buffer).getUint32(0, true)}` };
}

/** Size of a terminal, in characters; programs inside get SIGWINCH. */
export function setWinsize(fd: number, cols: number, rows: number): void {
  const c = libc();
  const size = new Uint8Array(new Uint16Array([rows, cols, 0, 0]).buffer);
  if (c.ioctl(fd, TIOCSWINSZ, size) !== 0)
    throw new KernelError({ errno: c.errno(), operation: 'set terminal size of', object: `fd ${fd}` });
}

/**
 * Listens on a unix socket for one connection that sends one file descriptor (SCM_RIGHTS), as `runc --console-socket` does
 * with the master of a container's terminal. `ready` gives the descriptor, which the caller closes; `close()` gives up and
 * removes the socket.
 */
export function listenForFd(path: string): { readonly ready: Promise<number>; close(): void } {
  const c = libc();
  const fail = (operation: string, errno = c.errno()): KernelError =>
    new KernelError({ errno, operation, object: path });
  const bytes = Buffer.from(path);
  // sun_path holds 108 bytes with the terminator.
  if (bytes.length > 107)
    throw new KernelError({ errno: 36, operation: 'listen on', object: path, hint: 'use a path of at most 107 bytes' });
  const fd = c.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw fail('open socket for');
  const address = new Uint8Array(2 + bytes.length + 1);
  address[0] = AF_UNIX;
  address.set(bytes, 2);
  if (c.bind(fd, address, address.length) !== 0 || c.listen(fd, 1) !== 0) {
    const error = fail('listen on');
    c.close(fd);
    throw error;
  }
  let settle: { resolve(fd: number): void; reject(error: unknown): void } | undefined;
  const ready = new Promise<number>((resolve, reject) => {
    settle = { resolve, reject };
  });
  // Whoever calls close() without waiting must not cause an unhandled rejection.
  ready.catch(() => {});
  let watching: { close(): void } | undefined;
  let connection = -1;
  const done = (): void => {
    watching?.close();
    watching = undefined;
    rmSync(path, { force: true });
  };
  const finish = (act: () => void): void => {
    done();
    act();
  };
  const receive = (): void => {
    const result = receiveFd(connection);
    if (result === undefined) return;
    finish(() => (result >= 0 ? settle?.resolve(result) : settle?.reject(fail('receive descriptor on', -result))));
  };
  watching = watchReadable(
    fd,
    () => {
      const peer = c.accept4(fd, null, null, SOCK_CLOEXEC | SOCK_NONBLOCK);
      if (peer < 0) return;
      watching?.close();
      connection = peer;
      watching = watchReadable(peer, receive, () => c.close(peer));
    },
    () => c.close(fd),
  );
  return {
    ready,
    close: () => {
      if (watching === undefined) return;
      finish(() => settle?.reject(new KernelError({ errno: 125, operation: 'receive descriptor on', object: path })));
    },
  };
}

/** A descriptor sent over a connected unix socket; undefined when nothing came yet, a negative errno when none will. */
function receiveFd(connection: number): number | undefined {
  const c = libc();
  const { koffi } = c;
  // One block of C memory for everything the call points into (64-bit layout): msghdr 56, iovec 16, control 64, data 256.
  const memory: unknown = koffi.alloc('uint8_t', 512);
  try {
    const base = koffi.address(memory as never) as bigint;
    const view = new DataView(koffi.view(memory as never, 512));
    for (let i = 0; i < 512; i += 8) view.setBigUint64(i, 0n);
    view.setBigUint64(16, base + 64n, true);
    view.setBigUint64(24, 1n, true);
    view.setBigUint64(32, base + 96n, true);
    view.setBigUint64(40, 64n, true);
    view.setBigUint64(64, base + 192n, true);
    view.setBigUint64(72, 256n, true);
    let length: number;
    do length = c.recvmsg(connection, memory, MSG_CMSG_CLOEXEC);
    while (length < 0 && c.errno() === EINTR);
    if (length < 0) {
      const errno = c.errno();
      return errno === EAGAIN ? undefined : -errno;
    }
    const controlLength = Number(view.getBigUint64(40, true));
    if (
      controlLength < 20 ||
      view.getUint32(96 + 8, true) !== SOL_SOCKET ||
      view.getUint32(96 + 12, true) !== SCM_RIGHTS
    )
      return -EPROTO;
    return view.getInt32(96 + 16, true);
  } finally {
    koffi.free(memory as never);
  }
}
