import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { WeftError } from '@weft/plan';

export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Opens a TCP socket that listens; gives its descriptor. Host `::` may mean IPv4 too unless `v6Only`. */
export type ListenFd = (host: string, port: number, v6Only?: boolean) => number;

interface Listener {
  /** The oldest handler of a path is the one in force. */
  readonly paths: Map<string, HttpHandler[]>;
  server: Server | undefined;
  starting: Promise<void> | undefined;
}

/** Splits `:8080`, `127.0.0.1:8080` or `[::1]:8080`. Undefined when the text is none of these. */
export function splitHttpAddress(text: string): { host: string; port: number } | undefined {
  const match = /^(?:\[([^\]]*)\]|([^:]*)):([0-9]{1,5})$/.exec(text);
  if (match === null) return undefined;
  const port = Number(match[3]);
  return port > 65535 ? undefined : { host: match[1] ?? match[2] ?? '', port };
}

/**
 * HTTP endpoints of plugins, shared by address. A configuration that takes over after a reload registers its paths
 * before the old one lets go, so the port stays open; until then the old one answers, also when the new one comes to nothing.
 */
export class HttpHub {
  readonly #listeners = new Map<string, Listener>();
  readonly #listenFd: ListenFd | undefined;

  /** `listenFd`: how to open listening sockets instead of Node's way. */
  constructor(listenFd?: ListenFd) {
    this.#listenFd = listenFd;
  }

  /** Serves `path` on `address` until the returned function is called. */
  async serve(address: string, path: string, handler: HttpHandler): Promise<() => Promise<void>> {
    let listener = this.#listeners.get(address);
    if (listener === undefined) {
      listener = { paths: new Map(), server: undefined, starting: undefined };
      this.#listeners.set(address, listener);
    }
    const own = listener;
    own.paths.set(path, [...(own.paths.get(path) ?? []), handler]);
    own.starting ??= this.#listen(address, own);
    try {
      await own.starting;
    } catch (error) {
      this.#listeners.delete(address);
      throw error;
    }
    return async () => {
      const left = (own.paths.get(path) ?? []).filter((other) => other !== handler);
      if (left.length > 0) own.paths.set(path, left);
      else own.paths.delete(path);
      if (own.paths.size > 0 || this.#listeners.get(address) !== own) return;
      this.#listeners.delete(address);
      await close(own.server);
    };
  }

  /** The port that an address with port 0 got. */
  port(address: string): number | undefined {
    return (this.#listeners.get(address)?.server?.address() as AddressInfo | null | undefined)?.port;
  }

  /** Every address in use with the port it got. */
  ports(): Record<string, number> {
    const out: Record<string, number> = {};
    for (const address of this.#listeners.keys()) out[address] = this.port(address) ?? 0;
    return out;
  }

  async close(): Promise<void> {
    const listeners = [...this.#listeners.values()];
    this.#listeners.clear();
    await Promise.all(listeners.map((listener) => close(listener.server)));
  }

  async #listen(address: string, listener: Listener): Promise<void> {
    const parsed = splitHttpAddress(address);
    if (parsed === undefined) {
      throw new WeftError({ code: 'DNS_LISTEN', message: `not an address to listen on: ${address}` });
    }
    const { createServer } = await import('node:http');
    const server = createServer((request, response) => {
      const path = (request.url ?? '/').split('?')[0] as string;
      const handler = listener.paths.get(path)?.[0];
      if (handler !== undefined) handler(request, response);
      else response.writeHead(404, { 'content-type': 'text/plain; charset=utf-8' }).end('404 page not found\n');
    });
    listener.server = server;
    await new Promise<void>((resolve, reject) => {
      server.once('error', (error) =>
        reject(
          new WeftError({
            code: 'DNS_LISTEN',
            message: `cannot listen on ${address}: ${error.message}`,
            hint: 'another program uses this port; choose another one in the Corefile',
            cause: error,
          }),
        ),
      );
      const host = parsed.host === 'localhost' ? '127.0.0.1' : parsed.host || '::';
      server.listen(
        this.#listenFd !== undefined
          ? { fd: this.#listenFd(host, parsed.port) }
          : { port: parsed.port, ...(parsed.host === '' ? {} : { host: parsed.host }) },
        () => resolve(),
      );
    });
    server.on('error', () => {});
  }
}

function close(server: Server | undefined): Promise<void> {
  if (server === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
