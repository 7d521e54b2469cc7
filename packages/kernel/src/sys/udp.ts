import { closeSync } from 'node:fs';
import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';
import { sockaddr } from './tcp.ts';

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;

/**
 * A UDP socket opened from inside a namespace, for `dgram.Socket.bind({ fd })`; port 0 is any free one. Node's own bind()
 * opens it later, in the wrong namespace. Throws KernelError.
 */
export function bindUdp(address: string, port: number, ns?: NetNs): number {
  const c = libc();
  const { family, bytes } = sockaddr(address, port);
  const make = (): number => c.socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const fd = ns === undefined ? make() : ns.run(make);
  if (fd < 0) throw new KernelError({ errno: c.errno(), operation: 'open UDP socket', object: ns?.path ?? 'here' });
  if (c.bind(fd, bytes, bytes.length) !== 0) {
    const errno = c.errno();
    closeSync(fd);
    throw new KernelError({ errno, operation: 'listen on', object: `UDP ${address}:${port}` });
  }
  return fd;
}
