import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { parseIp } from '@weft/net';
import { type Logger, WeftError } from '@weft/plan';
import { openBatchSocket } from './batch.ts';
import type { ListenFd } from './http.ts';
import { type PacketContext, packetContext } from './request.ts';
import type { Site } from './site.ts';

const RECEIVE_BUFFER = 4 * 1024 * 1024;
/** A connection without a query for so long is closed. */
const IDLE_MS = 10_000;
/** A client that does not read gets no more answers computed than fit in here. */
const MAX_UNREAD = 256 * 1024;
const MAX_IN_FLIGHT = 128;
const MAX_CONNECTIONS = 4096;
/** A packet that was on its way to a socket when the socket left has arrived after so long. */
const LEAVE_MS = 20;

/** Families that the machine may lack although the wildcard address asks for them. */
const ABSENT = new Set(['EAFNOSUPPORT', 'EADDRNOTAVAIL']);

/** UDP and TCP on one address; what they serve can be exchanged while they run. */
export class Listener {
  site: Site;
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
  #port: number;

  /**
   * `dgramOnly` keeps to Node's own socket calls. `listenFd` opens TCP sockets that others may share; then UDP sockets are
   * shared too.
   */
  constructor(host: string, port: number, site: Site, log: Logger, dgramOnly = false, listenFd?: ListenFd) {
    this.host = host;
    this.#dgramOnly = dgramOnly;
    this.#listenFd = listenFd;
    this.#port = port;
    this.site = site;
    this.#log = log;
  }

  /** The port in use; known once opened when 0 was asked for. */
  get port(): number {
    return this.#port;
  }

  /** Host and port to reach this listener from this machine. */
  get reachable(): { host: string; port: number } {
    const host = this.host === '' || this.host === '0.0.0.0' ? '127.0.0.1' : this.host === '::' ? '::1' : this.host;
    return { host, port: this.#port };
  }

  /** @throws WeftError `DNS_LISTEN` when the address is taken. */
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
        if (asked === 0 && attempt < 5) continue;
        const text = `${this.host.includes(':') ? `[${this.host}]` : this.host}:${asked}`;
        throw new WeftError({
          code: 'DNS_LISTEN',
          message: `cannot listen on ${text}: ${(error as Error).message}`,
          hint: 'another DNS server may run here; choose another port or address in the Corefile',
          cause: error,
        });
      }
    }
  }

  /**
   * Takes no more queries where others share the address, and answers those that were taken, for at most `limitMs`. Then
   * `close` loses none.
   */
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
      ...this.#udp.splice(0).map((socket) => new Promise<void>((resolve) => socket.close(() => resolve()))),
      ...this.#tcp.splice(0).map((server) => new Promise<void>((resolve) => server.close(() => resolve()))),
    ];
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(closing);
  }

  async #openOne(host: string, mayLack: boolean): Promise<void> {
    try {
      await this.#openUdp(host);
      await this.#openTcp(host);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (!mayLack || code === undefined || !ABSENT.has(code)) throw error;
    }
  }

  async #openUdp(host: string): Promise<void> {
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
        : openBatchSocket(ip.bytes, this.#port, RECEIVE_BUFFER, this.#listenFd !== undefined);
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
    const respond = (packet: Uint8Array, context: PacketContext): number | Promise<Buffer> => {
      const answer = this.site.respondInPlace(packet, context);
      return typeof answer === 'number' ? answer : this.#wait(answer);
    };
    const send = (bytes: Buffer, port: number, address: string): void => this.#sendUdp(socket, bytes, port, address);
    if (batch !== undefined && this.#listenFd !== undefined)
      this.#shared.push({ leave: () => batch.leave(), read: () => batch.drain(respond, send) });
    socket.on('error', (error) => this.#log.warn(`udp socket on ${host}:${this.#port}: ${error.message}`));
    socket.on('message', (packet, from) => {
      const answer = this.site.respond(packet, packetContext('udp', from.address, from.port));
      if (answer instanceof Promise) {
        void this.#wait(answer).then((bytes) => {
          if (bytes !== undefined) send(bytes, from.port, from.address);
        });
      } else if (answer !== undefined) send(answer, from.port, from.address);
      batch?.drain(respond, send);
    });
  }

  #sendUdp(socket: UdpSocket, bytes: Buffer, port: number, address: string): void {
    // Port 0 is no place to send to, and a closed socket has nobody to tell.
    if (port === 0 || !this.#udp.includes(socket)) return;
    socket.send(bytes, 0, bytes.length, port, address, ignore);
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

  /** Queries of one connection, answered in the order in which their answers are ready (RFC 7766 section 6.2.1.1). */
  #serveConnection(connection: Socket): void {
    this.#connections.add(connection);
    let buffer: Buffer = Buffer.alloc(0);
    let inFlight = 0;
    let paused = false;
    const send = (bytes: Buffer): void => {
      if (connection.destroyed) return;
      const length = Buffer.allocUnsafe(2);
      length.writeUInt16BE(bytes.length);
      connection.cork();
      connection.write(length);
      connection.write(bytes);
      connection.uncork();
    };
    const context: PacketContext = {
      ...packetContext('tcp', connection.remoteAddress ?? '', connection.remotePort ?? 0),
      send: async (message) => {
        send(message);
        if (connection.writableLength > MAX_UNREAD) await drained(connection);
        if (connection.destroyed) throw new Error('the client has left');
      },
    };
    const busy = (): boolean => inFlight >= MAX_IN_FLIGHT || connection.writableLength > MAX_UNREAD;
    const settled = (bytes: Buffer | undefined): void => {
      inFlight -= 1;
      if (bytes !== undefined) send(bytes);
      resume();
    };
    const drain = (): void => {
      let at = 0;
      while (buffer.length - at >= 2) {
        const length = buffer.readUInt16BE(at);
        if (buffer.length - at - 2 < length) break;
        if (busy()) {
          paused = true;
          connection.pause();
          break;
        }
        const answer = this.site.respond(buffer.subarray(at + 2, at + 2 + length), context);
        at += 2 + length;
        if (answer instanceof Promise) {
          inFlight += 1;
          void answer.then(settled);
        } else if (answer !== undefined) send(answer);
      }
      buffer = buffer.subarray(at);
    };
    const resume = (): void => {
      if (!paused || busy()) return;
      paused = false;
      connection.resume();
      drain();
    };
    connection.setTimeout(IDLE_MS, () => connection.destroy());
    connection.on('data', (chunk: Buffer) => {
      buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
      drain();
    });
    connection.on('drain', resume);
    connection.on('error', () => connection.destroy());
    connection.on('close', () => this.#connections.delete(connection));
  }
}

/** Resolves when everything that was written has been taken, or can be no more. */
function drained(connection: Socket): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      connection.off('drain', done);
      connection.off('close', done);
      resolve();
    };
    connection.on('drain', done);
    connection.on('close', done);
  });
}

function ignore(): void {
  // A client that went away needs no answer.
}
