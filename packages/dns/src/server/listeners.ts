import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { parseIp } from '@weft/net';
import { type Logger, WeftError } from '@weft/plan';
import type { Fast, WorkerGroup } from '../fast/fast.ts';
import type { FastPath } from '../fast/fast-path.ts';
import { MISS } from '../fast/reader.ts';
import { copyReply, replyBytes } from '../wire/index.ts';
import { openBatchSocket } from './batch.ts';
import type { ListenFd } from './http.ts';
import { type PacketContext, packetContext } from './request.ts';
import { DEFAULTS } from './settings.ts';
import type { Site } from './site.ts';
import { serveStream } from './stream.ts';

const RECEIVE_BUFFER = 4 * 1024 * 1024;
const MAX_CONNECTIONS = 4096;
/** A packet that was on its way to a socket when the socket left has arrived after so long. */
const LEAVE_MS = 20;

/** Families that the machine may lack although the wildcard address asks for them. */
const ABSENT = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/** Is this the error of opening a socket of a family that the machine lacks? */
export function isAbsent(error: unknown): boolean {
  return ABSENT.has((error as NodeJS.ErrnoException).code ?? '');
}

export function reachable(host: string, port: number): { host: string; port: number } {
  return { host: host === '' || host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port };
}

export function listenError(host: string, port: number, error: unknown): WeftError {
  return new WeftError({
    code: 'DNS_LISTEN',
    message: `cannot listen on ${host.includes(':') ? `[${host}]` : host}:${port}: ${(error as Error).message}`,
    hint: 'another DNS server may run here; choose another port or address in the Corefile',
    cause: error,
  });
}

/** Sockets at one address that serve a site; what they serve can be exchanged while they run. */
export interface AddressListener {
  site: Site;
  readonly host: string;
  /** The port in use; known once opened when 0 was asked for. */
  readonly port: number;
  /** Host and port to reach this listener from this machine. */
  readonly reachable: { host: string; port: number };
  /** @throws WeftError `DNS_LISTEN` when the address is taken. */
  open(): Promise<void>;
  /**
   * Takes no more queries where others share the address, and answers those that were taken, for at most `limitMs`. Then
   * `close` loses none.
   */
  drain(limitMs: number): Promise<void>;
  close(): Promise<void>;
}

/** What answers UDP without the chain: for the server, and for one address of it. */
export interface ListenerFast {
  readonly fast: Fast;
  readonly path: FastPath;
}

/** UDP and TCP on one address. */
export class Listener implements AddressListener {
  readonly host: string;
  readonly #log: Logger;
  readonly #udp: UdpSocket[] = [];
  readonly #tcp: Server[] = [];
  readonly #connections = new Set<Socket>();
  readonly #dgramOnly: boolean;
  readonly #listenFd: ListenFd | undefined;
  /** Sockets that share their address with others. */
  readonly #shared: { readonly leave: () => void; readonly read: () => void }[] = [];
  /** Queries whose answers are waited for. */
  readonly #waiting = new Set<Promise<unknown>>();
  readonly #fast: ListenerFast | undefined;
  /** Sockets that workers read. */
  readonly #groups: WorkerGroup[] = [];
  #port: number;
  #site: Site;

  /**
   * `dgramOnly` keeps to Node's own socket calls. `listenFd` opens TCP sockets that others may share; then UDP sockets are
   * shared too. `fast` answers UDP without the chain where it can.
   */
  constructor(
    host: string,
    port: number,
    site: Site,
    log: Logger,
    dgramOnly = false,
    listenFd?: ListenFd,
    fast?: ListenerFast,
  ) {
    this.#fast = fast;
    this.host = host;
    this.#dgramOnly = dgramOnly;
    this.#listenFd = listenFd;
    this.#port = port;
    this.#site = site;
    fast?.path.follow(site);
    this.#log = log;
  }

  get site(): Site {
    return this.#site;
  }

  set site(site: Site) {
    if (site === this.#site) return;
    this.#site = site;
    this.#fast?.path.follow(site);
  }

  get port(): number {
    return this.#port;
  }

  get reachable(): { host: string; port: number } {
    return reachable(this.host, this.#port);
  }

  async open(): Promise<void> {
    const asked = this.#port;
    // A free UDP port may be taken for TCP: another one is asked for.
    for (let attempt = 0; ; attempt++) {
      try {
        if (this.host === '') {
          await this.#openOne('0.0.0.0', false);
          await this.#openOne('::', true);
        } else await this.#openOne(this.host, false);
        return;
      } catch (error) {
        await this.close();
        this.#port = asked;
        this.#fast?.path.follow(this.#site);
        if (asked === 0 && attempt < 5) continue;
        throw listenError(this.host, asked, error);
      }
    }
  }

  async drain(limitMs: number): Promise<void> {
    const shared = this.#shared.splice(0);
    for (const { leave } of shared) leave();
    const limit = new Promise((resolve) => setTimeout(resolve, limitMs).unref());
    // Read here and not by the event loop, which may come to the timer first when the machine is busy.
    for (const { read } of shared) read();
    await new Promise((resolve) => setTimeout(resolve, LEAVE_MS));
    for (const { read } of shared) read();
    await Promise.race([limit, this.#answered()]);
  }

  async #answered(): Promise<void> {
    while (this.#waiting.size > 0) await Promise.allSettled(this.#waiting);
  }

  #wait<T>(answer: Promise<T>): Promise<T> {
    this.#waiting.add(answer);
    const forget = (): boolean => this.#waiting.delete(answer);
    answer.then(forget, forget);
    return answer;
  }

  async close(): Promise<void> {
    this.#shared.splice(0);
    const closing = [
      ...this.#groups.splice(0).map((group) => group.close()),
      ...this.#udp.splice(0).map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      ...this.#tcp.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    ];
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(closing);
    this.#fast?.path.close();
  }

  async #openOne(host: string, mayLack: boolean): Promise<void> {
    try {
      const sockets = this.site.settings.sockets ?? DEFAULTS.sockets;
      if (await this.#openWorkers(host)) return await this.#openTcp(host);
      for (let i = 0; i < sockets; i++) {
        if (!(await this.#openUdp(host, sockets > 1)) && sockets > 1) {
          this.#log.warn('plugin/multisocket: this machine lets only one socket listen at an address');
          break;
        }
      }
      await this.#openTcp(host);
    } catch (error) {
      if (!mayLack || !isAbsent(error)) throw error;
    }
  }

  /** Opens UDP sockets that workers read; false where there are none. */
  async #openWorkers(host: string): Promise<boolean> {
    if (this.#fast === undefined || this.#dgramOnly) return false;
    const { fast, path } = this.#fast;
    const group = await fast.open(host, this.#port, path, {
      count: this.site.settings.sockets,
      share: this.#listenFd !== undefined,
      receiveBuffer: RECEIVE_BUFFER,
      respond: this.#chain,
    });
    if (group === undefined) return false;
    this.#groups.push(group);
    this.#port = group.port;
    if (this.#listenFd !== undefined) this.#shared.push(group);
    return true;
  }

  readonly #respond = (packet: Uint8Array, context: PacketContext): number | Promise<Buffer> => {
    const size = this.#fast?.path.respond(packet, context.family === 6, replyBytes) ?? MISS;
    return size === MISS ? this.#chain(packet, context) : Math.max(0, size);
  };

  readonly #chain = (packet: Uint8Array, context: PacketContext): number | Promise<Buffer> => {
    const answer = this.#fast?.path.chain(this.#site, packet, context) ?? this.#site.respondInPlace(packet, context);
    return typeof answer === 'number' ? answer : this.#wait(answer);
  };

  /** Tells whether others can be opened beside this one. */
  async #openUdp(host: string, several: boolean): Promise<boolean> {
    const family = host.includes(':') ? 6 : 4;
    const socket = createSocket({
      type: family === 6 ? 'udp6' : 'udp4',
      ipv6Only: family === 6,
      // Answers go to addresses, not names: no resolver and no extra turn of the event loop.
      lookup: (address, _options, callback) => callback(null, address, family),
    });
    const ip = parseIp(host);
    const batch =
      ip === undefined || this.#dgramOnly
        ? undefined
        : openBatchSocket(ip.bytes, this.#port, RECEIVE_BUFFER, several || this.#listenFd !== undefined);
    await new Promise<void>((resolve, reject) => {
      socket.once('error', (error) => {
        socket.close();
        reject(error);
      });
      socket.bind(batch === undefined ? { address: host, port: this.#port } : { fd: batch.fd }, () => {
        socket.removeAllListeners('error');
        resolve();
      });
    });
    this.#udp.push(socket);
    this.#port = socket.address().port;
    try {
      if (batch === undefined) socket.setRecvBufferSize(RECEIVE_BUFFER);
    } catch {
      // Less than we asked for is what the machine allows.
    }
    const send = (bytes: Buffer, port: number, address: string): void => this.#sendUdp(socket, bytes, port, address);
    if (batch !== undefined && this.#listenFd !== undefined)
      this.#shared.push({ leave: () => batch.leave(), read: () => batch.drain(this.#respond, send) });
    socket.on('error', (error) => this.#log.warn(`udp socket on ${host}:${this.#port}: ${error.message}`));
    socket.on('message', (packet, from) => {
      const fast = this.#fast?.path.respond(packet, family === 6, replyBytes) ?? MISS;
      if (fast > 0) send(copyReply(fast), from.port, from.address);
      else if (fast === MISS) {
        const answer = this.#chain(packet, packetContext('udp', from.address, from.port));
        if (typeof answer !== 'number') void answer.then((bytes) => send(bytes, from.port, from.address));
        else if (answer > 0) send(copyReply(answer), from.port, from.address);
      }
      batch?.drain(this.#respond, send);
    });
    return batch !== undefined;
  }

  #sendUdp(socket: UdpSocket, bytes: Buffer, port: number, address: string): void {
    // Port 0 is no place to send to, a closed socket has nobody to tell, and nothing is no answer.
    if (port === 0 || bytes.length === 0 || !this.#udp.includes(socket)) return;
    // Nobody is told when it fails, and so nothing needs to be kept to tell with.
    socket.send(bytes, port, address);
  }

  async #openTcp(host: string): Promise<void> {
    const server = createServer({ noDelay: true }, (connection) => this.#serveConnection(connection));
    server.maxConnections = MAX_CONNECTIONS;
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const { port } = this;
      const v6 = host.includes(':');
      const where =
        this.#listenFd === undefined ? { host, port, ipv6Only: v6 } : { fd: this.#listenFd(host, port, v6) };
      server.listen(where, () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.#tcp.push(server);
    this.#port = (server.address() as AddressInfo).port;
    server.on('error', (error) => this.#log.warn(`tcp socket on ${host}:${this.#port}: ${error.message}`));
  }

  #serveConnection(connection: Socket): void {
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    serveStream(connection, () => this.site);
  }
}
