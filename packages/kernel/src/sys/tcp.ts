import { closeSync } from 'node:fs';
import { ipBytes } from '@weft/net';
import { KernelError } from '../errors.ts';
import { libc } from './libc.ts';
import type { NetNs } from './netns.ts';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_REUSEPORT = 15;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

function sockaddr(address: string, port: number): { family: number; bytes: Uint8Array } {
  const ip = ipBytes(address);
  const family = ip.length === 4 ? AF_INET : AF_INET6;
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port, false);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  return { family, bytes };
}

function open(ns: NetNs | undefined, family: number): number {
  const c = libc();
  const make = (): number => c.socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const fd = ns === undefined ? make() : ns.run(make);
  if (fd < 0) throw new KernelError({ errno: c.errno(), operation: 'open TCP socket', object: ns?.path ?? 'here' });
  return fd;
}

/**
 * A TCP socket that listens inside a namespace, for `net.Server.listen({ fd })`. Node's own listen() looks its address
 * up asynchronously and would come back to open the socket in the wrong namespace.
 */
export function listenTcp(
  address: string,
  port: number,
  ns?: NetNs,
  options: {
    /** Others of the same user may listen there too, and connections are spread (SO_REUSEPORT). */
    readonly share?: boolean;
    /** `::` takes no IPv4. */
    readonly v6Only?: boolean;
  } = {},
): number {
  const c = libc();
  const { family, bytes } = sockaddr(address, port);
  const fd = open(ns, family);
  c.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, Uint8Array.of(1, 0, 0, 0), 4);
  if (options.share === true) c.setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, Uint8Array.of(1, 0, 0, 0), 4);
  if (options.v6Only === true && family === AF_INET6)
    c.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Uint8Array.of(1, 0, 0, 0), 4);
  if (c.bind(fd, bytes, bytes.length) !== 0 || c.listen(fd, 511) !== 0) {
    const errno = c.errno();
    closeSync(fd);
    throw new KernelError({ errno, operation: 'listen on', object: `${address}:${port}` });
  }
  return fd;
}

/** A TCP connection opened from inside a namespace, for `new net.Socket({ fd })`. */
export async function connectTcp(address: string, port: number, ns?: NetNs): Promise<number> {
  const c = libc();
  const { family, bytes } = sockaddr(address, port);
  const fd = open(ns, family);
  // The socket belongs to the namespace it was opened in; the thread that connects it does not matter.
  const errno = await new Promise<number>((resolve) => {
    // errno is the pool thread's; koffi carries it over to the callback.
    c.connect.async(fd, bytes, bytes.length, (error, result) => resolve(error ? 5 : result === 0 ? 0 : c.errno()));
  });
  if (errno !== 0) {
    closeSync(fd);
    throw new KernelError({ errno, operation: 'connect to', object: `${address}:${port}` });
  }
  return fd;
}
