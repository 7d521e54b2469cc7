import type { SecureContextOptions } from 'node:tls';

/** What clients must show to be served over TLS: the words of the tls plugin's `client_auth`. */
type ClientAuth = 'nocert' | 'request' | 'require' | 'verify_if_given' | 'require_and_verify';

/** How a `tls://` or `https://` address encrypts. */
export interface ServerTls {
  readonly context: SecureContextOptions;
  readonly clientAuth: ClientAuth;
  /** File that the secrets of connections are appended to, for those who look into captures. */
  readonly keylog: string | undefined;
}

/**
 * How the sockets of a server block behave. Plugins set them (`tls`, `timeouts`, `multisocket`, `https`); blocks that share an
 * address share its sockets, and the last block that sets something wins, as in CoreDNS.
 */
export interface ListenSettings {
  /** Undefined serves `tls://` and `https://` in the clear, behind a proxy that decrypts. */
  tls?: ServerTls;
  /** Milliseconds for the first query of a connection, default 3,000. */
  readMs?: number;
  /** Milliseconds for a client to take what is sent to it, default 5,000. */
  writeMs?: number;
  /** Milliseconds between queries of a connection, default 10,000. */
  idleMs?: number;
  /** Queries of one connection; -1, the default, for any number. */
  maxTcpQueries?: number;
  /** UDP sockets at the address, over which the kernel spreads clients. Default 1. */
  sockets?: number;
  /** Connections at a time of an `https://` address; 0 for any number. Default 200. */
  maxHttpsConnections?: number;
}

/** Defaults of CoreDNS. */
export const DEFAULTS = {
  readMs: 3000,
  writeMs: 5000,
  idleMs: 10_000,
  maxTcpQueries: -1,
  sockets: 1,
  maxHttpsConnections: 200,
} as const;
