import dgram from 'node:dgram';
import { bindUdp } from '@weft/kernel';
import type { Target } from './pool.ts';
import { openInRange } from './ports.ts';
import type { Listener, ListenerOptions } from './tcp.ts';

/** One client's flow to its endpoint. */
interface Session {
  readonly target: Target;
  readonly socket: dgram.Socket;
  /** Datagrams that wait until the socket is connected. */
  waiting: Buffer[] | undefined;
  usedAt: number;
}

/** Clients at a time of one pool; each costs a socket. The one silent for longest makes room. */
const MAX_SESSIONS = 8192;
/** Datagrams kept for a session that is being opened. */
const MAX_WAITING = 64;
const ANY = { 4: '0.0.0.0', 6: '::' } as const;

/**
 * Carries the datagrams of each client to one endpoint and its answers back, until both have been silent for `idleMs`.
 * Throws KernelError, WeftError.
 */
export function udpListener(options: ListenerOptions & { readonly idleMs: number }): Listener {
  const { address, range, ns, pool, log, name, idleMs } = options;
  const family = address.includes(':') ? 6 : 4;
  const kind = family === 6 ? 'udp6' : 'udp4';
  const sessions = new Map<string, Session>();
  const end = (key: string): void => {
    sessions.get(key)?.socket.close();
    sessions.delete(key);
  };
  const front = dgram.createSocket(kind);
  front.bind({ fd: openInRange(range, (port) => bindUdp(address, port, ns)), exclusive: true });
  front.unref();

  const open = (key: string, client: dgram.RemoteInfo): Session | undefined => {
    const target = pool.take(client.address);
    if (target === undefined) return undefined;
    const socket = dgram.createSocket(kind);
    socket.bind({ fd: bindUdp(ANY[family], 0, ns), exclusive: true });
    socket.unref();
    const session: Session = { target, socket, waiting: [], usedAt: Date.now() };
    socket.on('message', (data) => {
      session.usedAt = Date.now();
      front.send(data, client.port, client.address);
    });
    // The endpoint refuses: the client's next datagram goes to another one.
    socket.on('error', (error) => {
      log.debug('an endpoint does not answer', { port: name, endpoint: target.address, error });
      pool.failed(client.address);
      if (sessions.get(key) === session) end(key);
    });
    socket.once('connect', () => {
      const { waiting } = session;
      session.waiting = undefined;
      for (const data of waiting ?? []) socket.send(data);
    });
    // Without a callback, which would be called for failures too: no route to the endpoint is one.
    socket.connect(target.port, target.address);
    if (sessions.size >= MAX_SESSIONS) end(sessions.keys().next().value as string);
    return session;
  };

  front.on('message', (data, client) => {
    const key = `${client.address} ${client.port}`;
    try {
      const session = sessions.get(key) ?? open(key, client);
      if (session === undefined) return;
      // The order of the map is that of last use.
      sessions.delete(key);
      sessions.set(key, session);
      session.usedAt = Date.now();
      if (session.waiting === undefined) session.socket.send(data);
      else if (session.waiting.length < MAX_WAITING) session.waiting.push(data);
    } catch (error) {
      log.warn('cannot carry datagrams on', { port: name, error });
    }
  });
  front.on('error', (error) => log.error('cannot take datagrams', { port: name, error }));
  const sweeper = setInterval(
    () => {
      const oldest = Date.now() - idleMs;
      for (const [key, session] of sessions) if (session.usedAt <= oldest) end(key);
    },
    Math.max(50, idleMs / 4),
  ).unref();

  return {
    port: front.address().port,
    keep(keys) {
      for (const [key, session] of sessions) if (!keys.has(session.target.key)) end(key);
    },
    close() {
      clearInterval(sweeper);
      for (const key of sessions.keys()) end(key);
      front.close();
    },
  };
}
