import net from 'node:net';
import { dialTcp, listenTcp, type NetNs } from '@weft/kernel';
import type { Logger } from '@weft/plan';
import type { Pool, Target } from './pool.ts';
import { openInRange, type PortRange } from './ports.ts';

export interface ListenerOptions {
  /** Address that the kernel leads clients to. */
  readonly address: string;
  readonly range: PortRange;
  readonly pool: Pool;
  /** `ns/name:port` of the service port. */
  readonly name: string;
  readonly ns: NetNs | undefined;
  readonly log: Logger;
}

/** A socket that clients of one pool are led to. */
export interface Listener {
  readonly port: number;
  /** Takes no new clients; open TCP connections go on. */
  close(): void;
  /** Endpoints that may keep the UDP flows they have. */
  keep?(keys: ReadonlySet<string>): void;
}

/** Milliseconds that each attempt to connect may take (kube-proxy's endpointDialTimeouts). */
const DIAL_MS = [250, 500, 1000, 2000] as const;

/** Listens for TCP clients, and carries each connection on to an endpoint. Throws KernelError, WeftError. */
export function tcpListener(options: ListenerOptions): Listener {
  const { address, range, ns } = options;
  const fd = openInRange(range, (port) => listenTcp(address, port, ns));
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => void splice(client, options));
  server.on('error', (error) => options.log.error('cannot take connections', { port: options.name, error }));
  server.listen({ fd });
  server.unref();
  return { port: (server.address() as net.AddressInfo).port, close: () => void server.close() };
}

async function splice(client: net.Socket, options: ListenerOptions): Promise<void> {
  // An agent that is told to end does not wait for its users' connections.
  client.unref();
  let gone = false;
  client.on('error', () => (gone = true));
  client.once('close', () => (gone = true));
  const server = await reach(client.remoteAddress ?? '', options, () => gone);
  if (server === undefined) {
    client.resetAndDestroy();
    return;
  }
  if (gone) {
    server.resetAndDestroy();
    return;
  }
  join(client, server);
  join(server, client);
}

/** Carries what `from` sends to `to`, its end and its reset too. */
function join(from: net.Socket, to: net.Socket): void {
  from.on('error', () => to.resetAndDestroy());
  // One that is closed without an end or an error has gone with both halves.
  from.once('close', () => {
    if (!from.readableEnded) to.destroy();
  });
  from.pipe(to);
}

/** A connection to an endpoint: the next one is tried when one does not answer, and after all have been, with a pause. */
async function reach(client: string, options: ListenerOptions, gone: () => boolean): Promise<net.Socket | undefined> {
  const { pool, ns, log, name } = options;
  for (const [attempt, ms] of DIAL_MS.entries()) {
    const target = pool.take(client);
    if (target === undefined) return undefined;
    try {
      return await dial(target, ms, ns);
    } catch (error) {
      pool.failed(client);
      log.debug('an endpoint does not answer', { port: name, endpoint: target.address, error });
    }
    if (gone() || attempt === DIAL_MS.length - 1) break;
    if (attempt + 1 >= pool.size) await new Promise((resolve) => setTimeout(resolve, ms).unref());
  }
  log.warn('no endpoint answers', { port: name });
  return undefined;
}

function dial({ address, port }: Target, ms: number, ns: NetNs | undefined): Promise<net.Socket> {
  const socket = new net.Socket({
    fd: dialTcp(address, port, ns),
    allowHalfOpen: true,
    readable: true,
    writable: true,
  });
  socket.unref();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(new Error(`no answer within ${ms} ms`)), ms);
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    // Ends when the connection is there.
    socket.write('', (error) => {
      if (error !== null && error !== undefined) return;
      clearTimeout(timer);
      socket.removeAllListeners('error');
      socket.setNoDelay(true);
      resolve(socket);
    });
  });
}
