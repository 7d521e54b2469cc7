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
const SOCK_NONBLOCK = 0o4000;
const EINPROGRESS = 115;
const ENOENT = 2;
const IPPROTO_IP = 0;
const IPPROTO_TCP = 6;
const TCP_MD5SIG = 14;
const IP_TTL = 2;
const IP_MINTTL = 21;
const IPV6_UNICAST_HOPS = 16;
const IPV6_MINHOPCOUNT = 73;
/** Longest key of TCP_MD5SIG, and the offsets in its structure (linux/tcp.h). */
const MD5_KEY_BYTES = 80;
const SOCKADDR_STORAGE_BYTES = 128;

/** A socket address as the kernel takes it. */
export function sockaddr(address: string, port: number): { family: number; bytes: Uint8Array } {
  const ip = ipBytes(address);
  const family = ip.length === 4 ? AF_INET : AF_INET6;
  const bytes = new Uint8Array(ip.length === 4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, family, true);
  view.setUint16(2, port, false);
  bytes.set(ip, ip.length === 4 ? 4 : 8);
  return { family, bytes };
}

function open(ns: NetNs | undefined, family: number, flags = 0): number {
  const c = libc();
  const make = (): number => c.socket(family, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
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

function uint(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
}

/**
 * Signs segments to and from an address with MD5 (RFC 2385); without a key they are not signed any more. On a listening
 * socket it holds for connections that come. Keys have 1 to 80 bytes of UTF-8. Throws KernelError.
 */
export function setTcpMd5(fd: number, address: string, key: string | undefined): void {
  const c = libc();
  const bytes = new TextEncoder().encode(key ?? '');
  if (bytes.length > MD5_KEY_BYTES)
    throw new KernelError({
      errno: 22,
      operation: 'sign TCP with',
      object: address,
      extack: `a key has at most ${MD5_KEY_BYTES} bytes`,
    });
  const value = new Uint8Array(SOCKADDR_STORAGE_BYTES + 8 + MD5_KEY_BYTES);
  value.set(sockaddr(address, 0).bytes);
  value[SOCKADDR_STORAGE_BYTES + 2] = bytes.length;
  value.set(bytes, SOCKADDR_STORAGE_BYTES + 8);
  if (c.setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, value, value.length) === 0) return;
  const errno = c.errno();
  if (key === undefined && errno === ENOENT) return;
  throw new KernelError({ errno, operation: 'sign TCP with', object: address });
}

/** Refuses packets from more than `hops` away: the peer, too, sends with the largest TTL (RFC 5082). */
export function setTcpTtlSecurity(fd: number, family: 4 | 6, hops: number): void {
  const c = libc();
  const [level, ttl, least] =
    family === 4 ? [IPPROTO_IP, IP_TTL, IP_MINTTL] : [IPPROTO_IPV6, IPV6_UNICAST_HOPS, IPV6_MINHOPCOUNT];
  c.setsockopt(fd, level, ttl, uint(255), 4);
  c.setsockopt(fd, level, least, uint(256 - hops), 4);
}

/**
 * A TCP connection that is being opened, for `new net.Socket({ fd })`: no thread waits for it. A write of nothing ends
 * when it is there, and fails when it cannot be. Throws KernelError when it cannot even begin.
 */
export function dialTcp(
  address: string,
  port: number,
  ns?: NetNs,
  options: {
    /** Address to connect from. */
    readonly source?: string;
    /** Key of `setTcpMd5`. */
    readonly md5?: string;
    /** Hops of `setTcpTtlSecurity`. */
    readonly ttlSecurity?: number;
  } = {},
): number {
  const c = libc();
  const { family, bytes } = sockaddr(address, port);
  const fd = open(ns, family, SOCK_NONBLOCK);
  try {
    if (options.md5 !== undefined) setTcpMd5(fd, address, options.md5);
    if (options.ttlSecurity !== undefined) setTcpTtlSecurity(fd, family === AF_INET ? 4 : 6, options.ttlSecurity);
    if (options.source !== undefined) {
      const source = sockaddr(options.source, 0).bytes;
      if (c.bind(fd, source, source.length) !== 0)
        throw new KernelError({ errno: c.errno(), operation: 'connect from', object: options.source });
    }
    if (c.connect(fd, bytes, bytes.length) !== 0) {
      const errno = c.errno();
      if (errno !== EINPROGRESS)
        throw new KernelError({ errno, operation: 'connect to', object: `${address}:${port}` });
    }
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}
