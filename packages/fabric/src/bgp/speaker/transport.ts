import { createServer, type Server, Socket } from 'node:net';
import { type NetNs, dialTcp, listenTcp, setTcpMd5, setTcpTtlSecurity } from '@weft/kernel';
import { errorMessage } from '@weft/plan';
import type { PeerConfig } from './config.ts';

/** Longest time that a connection may take, milliseconds. */
const DIAL_MS = 4000;

export type DialResult = { readonly socket: Socket } | { readonly error: string };

/** TCP for a speaker: connections to peers and from them, in one network namespace. */
export class Transport {
  readonly #ns: NetNs | undefined;
  readonly #accept: (socket: Socket, address: string) => void;
  #servers: { readonly server: Server; readonly fd: number; readonly family: 4 | 6 }[] = [];
  #listening = '';
  readonly #keys = new Map<string, string>();

  constructor(ns: NetNs | undefined, accept: (socket: Socket, address: string) => void) {
    this.#ns = ns;
    this.#accept = accept;
  }

  /** Listens on these addresses and nowhere else. Throws KernelError when one of them is taken or not ours. */
  listen(addresses: readonly string[], port: number): void {
    const wanted = `${port} ${addresses.join(' ')}`;
    if (wanted === this.#listening) return;
    this.#close();
    for (const address of addresses) {
      const family = address.includes(':') ? 6 : 4;
      const fd = listenTcp(address, port, this.#ns, { v6Only: true });
      const server = createServer((socket) => {
        socket.on('error', () => {});
        this.#accept(socket, socket.remoteAddress ?? '');
      });
      server.on('error', () => {});
      server.listen({ fd });
      this.#servers.push({ server, fd, family });
    }
    this.#listening = wanted;
    for (const [peer, key] of this.#keys) this.#sign(peer, key);
  }

  /** Connections from a peer must be signed with this key; without one they must not be signed. */
  setKey(address: string, key: string | undefined): void {
    if (this.#keys.get(address) === key) return;
    if (key === undefined) this.#keys.delete(address);
    else this.#keys.set(address, key);
    this.#sign(address, key);
  }

  /** Connects to a peer. Returns the way to give up; `done` is not called after that. */
  dial(peer: PeerConfig, done: (result: DialResult) => void): () => void {
    let socket: Socket;
    try {
      const { address, port, source, password, ttlSecurity } = peer;
      const fd = dialTcp(address, port, this.#ns, {
        ...(source === undefined ? {} : { source }),
        ...(password === undefined ? {} : { md5: password }),
        ...(ttlSecurity === undefined ? {} : { ttlSecurity }),
      });
      socket = new Socket({ fd, readable: true, writable: true });
    } catch (error) {
      const timer = setImmediate(() => done({ error: errorMessage(error) }));
      return () => clearImmediate(timer);
    }
    let open = true;
    const finish = (result?: DialResult): void => {
      if (!open) return;
      open = false;
      clearTimeout(timer);
      if (result === undefined || 'error' in result) socket.destroy();
      if (result !== undefined) done(result);
    };
    const timer = setTimeout(() => finish({ error: 'no answer' }), DIAL_MS);
    socket.on('error', (error) => finish({ error: error.message }));
    socket.once('close', () => finish({ error: 'the connection was closed' }));
    // Done as soon as the connection is there.
    socket.write('', (error) => {
      if (!(error instanceof Error)) finish({ socket });
    });
    return () => finish();
  }

  /** Accepts only what comes from at most `hops` away. */
  static secure(socket: Socket, hops: number): void {
    const fd = (socket as unknown as { readonly _handle?: { readonly fd?: number } })._handle?.fd;
    if (fd !== undefined && fd >= 0) setTcpTtlSecurity(fd, socket.remoteFamily === 'IPv6' ? 6 : 4, hops);
  }

  close(): void {
    this.#close();
  }

  #sign(address: string, key: string | undefined): void {
    const family = address.includes(':') ? 6 : 4;
    for (const server of this.#servers) if (server.family === family) setTcpMd5(server.fd, address, key);
  }

  #close(): void {
    for (const { server } of this.#servers.splice(0)) server.close();
    this.#listening = '';
  }
}
