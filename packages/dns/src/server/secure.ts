import { appendFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import type { Server as TlsServer, TLSSocket, TlsOptions } from 'node:tls';
import { type Logger, WeftError } from '@weft/plan';
import type { ListenFd } from './http.ts';
import { type AddressListener, isAbsent, listenError, reachable } from './listeners.ts';
import type { ServerTls } from './settings.ts';
import type { Site } from './site.ts';

/** Speaks a protocol over connections that are handed to it. */
export interface Protocol {
  accept(connection: Socket): void;
  close(): void;
}

/** Makes the protocol of an address, for the settings that its site has. */
export type ProtocolFactory = (site: () => Site, log: Logger, server: string) => Promise<Protocol>;

/**
 * Connections on one address, served by a protocol that a new configuration may exchange: certificates change without a
 * moment in which nobody listens.
 */
export class StreamListener implements AddressListener {
  readonly host: string;
  readonly #log: Logger;
  readonly #make: ProtocolFactory;
  readonly #listenFd: ListenFd | undefined;
  readonly #limit: (site: Site) => number;
  readonly #servers: Server[] = [];
  readonly #connections = new Set<Socket>();
  readonly #name: string;
  #site: Site;
  #port: number;
  #protocol: Protocol | undefined;

  /** `limit`: connections at a time; more are closed at once. */
  constructor(
    transport: string,
    host: string,
    port: number,
    site: Site,
    log: Logger,
    make: ProtocolFactory,
    limit: (site: Site) => number,
    listenFd?: ListenFd,
  ) {
    this.host = host;
    this.#port = port;
    this.#site = site;
    this.#log = log;
    this.#make = make;
    this.#limit = limit;
    this.#listenFd = listenFd;
    this.#name = `${transport}://${host.includes(':') ? `[${host}]` : host}:${port}`;
  }

  get port(): number {
    return this.#port;
  }

  get reachable(): { host: string; port: number } {
    return reachable(this.host, this.#port);
  }

  get site(): Site {
    return this.#site;
  }

  set site(site: Site) {
    this.#site = site;
    const before = this.#protocol;
    this.#start().then(
      () => before?.close(),
      (error: unknown) => this.#log.error(`${this.#name}: the old certificates stay in use`, { error }),
    );
  }

  async #start(): Promise<void> {
    this.#protocol = await this.#make(() => this.#site, this.#log, this.#name);
  }

  async open(): Promise<void> {
    await this.#start();
    try {
      if (this.host === '') {
        await this.#openOne('0.0.0.0');
        await this.#openOne('::').catch((error: unknown) => {
          if (!isAbsent(error)) throw error;
        });
      } else await this.#openOne(this.host);
    } catch (error) {
      await this.close();
      throw listenError(this.host, this.#port, error);
    }
  }

  drain(): Promise<void> {
    for (const server of this.#servers) server.close();
    return Promise.resolve();
  }

  async close(): Promise<void> {
    const closed = this.#servers
      .splice(0)
      .filter(({ listening }) => listening)
      .map((server) => new Promise<void>((resolve) => server.close(() => resolve())));
    this.#protocol?.close();
    for (const connection of this.#connections) connection.destroy();
    await Promise.all(closed);
  }

  async #openOne(host: string): Promise<void> {
    const server = createServer({ noDelay: true }, (connection) => this.#accept(connection));
    const v6Only = host.includes(':');
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      const where =
        this.#listenFd === undefined
          ? { host, port: this.#port, ipv6Only: v6Only }
          : { fd: this.#listenFd(host, this.#port, v6Only) };
      server.listen(where, () => {
        server.off('error', reject);
        resolve();
      });
    });
    this.#servers.push(server);
    this.#port = (server.address() as AddressInfo).port;
    server.on('error', (error) => this.#log.warn(`${this.#name}: ${error.message}`));
  }

  #accept(connection: Socket): void {
    const limit = this.#limit(this.#site);
    if (this.#protocol === undefined || (limit > 0 && this.#connections.size >= limit)) {
      connection.destroy();
      return;
    }
    this.#connections.add(connection);
    connection.on('close', () => this.#connections.delete(connection));
    connection.on('error', () => connection.destroy());
    this.#protocol.accept(connection);
  }
}

/** Options of a TLS server as CoreDNS sets them. `handshakeMs`: how long a client may take to agree on keys. */
export function tlsOptions(tls: ServerTls, handshakeMs: number): TlsOptions {
  const { clientAuth } = tls;
  return {
    ...tls.context,
    minVersion: 'TLSv1.2',
    handshakeTimeout: handshakeMs,
    requestCert: clientAuth !== 'nocert',
    // The two modes that are neither "all" nor "none" are decided by `admitted`.
    rejectUnauthorized: clientAuth === 'require_and_verify',
  };
}

/** May the client of this connection ask? */
export function admitted(tls: ServerTls, socket: TLSSocket): boolean {
  if (tls.clientAuth === 'nocert' || tls.clientAuth === 'request') return true;
  const given = Object.keys(socket.getPeerCertificate()).length > 0;
  return tls.clientAuth === 'require' ? given : !given || socket.authorized;
}

/** What every TLS server of ours does besides its protocol: the key log, and silence about clients that fail. */
export function watchTls(server: TlsServer, tls: ServerTls, log: Logger, name: string): void {
  const { keylog } = tls;
  if (keylog !== undefined) {
    log.warn(`plugin/tls: Writing TLS Key Log to "${keylog}"`);
    server.on('keylog', (line: Buffer) => {
      try {
        appendFileSync(keylog, line, { mode: 0o600 });
      } catch (error) {
        log.warn(`plugin/tls: cannot write the key log: ${(error as Error).message}`);
      }
    });
  }
  server.on('tlsClientError', (error, socket) => {
    log.debug(`${name}: ${error.message}`);
    socket.destroy();
  });
}

/** Makes a server's TLS part. @throws WeftError `DNS_TLS` when certificate and key do not fit. */
export function withTls<T>(name: string, make: () => T): T {
  try {
    return make();
  } catch (error) {
    throw new WeftError({
      code: 'DNS_TLS',
      message: `cannot serve ${name}: ${(error as Error).message}`,
      hint: 'certificate and key of the tls plugin must be PEM files that belong together',
      cause: error,
    });
  }
}
