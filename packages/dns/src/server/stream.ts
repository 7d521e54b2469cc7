import type { Socket } from 'node:net';
import { type PacketContext, packetContext } from './request.ts';
import { DEFAULTS } from './settings.ts';
import type { Site } from './site.ts';

/** A client that does not read gets no more answers computed than fit in here. */
const MAX_UNREAD = 256 * 1024;
const MAX_IN_FLIGHT = 128;

/**
 * Answers the queries of one TCP or TLS connection, in the order in which their answers are ready (RFC 7766 section
 * 6.2.1.1). `site` is asked anew for every query. `peer` is the socket that knows the addresses when the connection itself is
 * a layer above it.
 */
export function serveStream(connection: Socket, site: () => Site, peer: Socket = connection): void {
  const { settings } = site();
  const readMs = settings.readMs ?? DEFAULTS.readMs;
  const idleMs = settings.idleMs ?? DEFAULTS.idleMs;
  let left = settings.maxTcpQueries ?? DEFAULTS.maxTcpQueries;
  let buffer: Buffer = Buffer.alloc(0);
  let inFlight = 0;
  let paused = false;
  const watchWrites = writeWatch(connection, settings.writeMs ?? DEFAULTS.writeMs);
  // Not the socket's own timeout: a client that sends a byte now and then would never meet it.
  const reading = setTimeout(() => {
    if (inFlight > 0 || connection.writableLength > 0) reading.refresh();
    else connection.destroy();
  }, readMs).unref();
  let idle: NodeJS.Timeout | undefined;
  const nextQuery = (): void => {
    clearTimeout(reading);
    idle ??= setTimeout(() => {
      if (inFlight > 0 || connection.writableLength > 0) idle?.refresh();
      else connection.destroy();
    }, idleMs).unref();
    idle.refresh();
  };
  const send = (bytes: Buffer): void => {
    if (connection.destroyed) return;
    const length = Buffer.allocUnsafe(2);
    length.writeUInt16BE(bytes.length);
    connection.cork();
    connection.write(length);
    connection.write(bytes);
    connection.uncork();
    watchWrites.wrote();
  };
  const context: PacketContext = {
    ...packetContext('tcp', peer.remoteAddress ?? '', peer.remotePort ?? 0),
    local: { address: peer.localAddress ?? '', port: peer.localPort ?? 0 },
    send: async (message) => {
      send(message);
      if (connection.writableLength > MAX_UNREAD) await drained(connection);
      if (connection.destroyed) throw new Error('the client has left');
    },
  };
  const busy = (): boolean => inFlight >= MAX_IN_FLIGHT || connection.writableLength > MAX_UNREAD;
  const leaveWhenDone = (): void => {
    if (left === 0 && inFlight === 0) connection.end();
  };
  const settled = (bytes: Buffer | undefined): void => {
    inFlight -= 1;
    if (bytes !== undefined && bytes.length > 0) send(bytes);
    leaveWhenDone();
    resume();
  };
  const drain = (): void => {
    let at = 0;
    while (buffer.length - at >= 2 && left !== 0) {
      const length = buffer.readUInt16BE(at);
      if (length === 0) {
        // No message is empty: what follows would not be one either.
        connection.destroy();
        return;
      }
      if (buffer.length - at - 2 < length) break;
      if (busy()) {
        paused = true;
        connection.pause();
        break;
      }
      if (left > 0) left -= 1;
      nextQuery();
      const answer = site().respond(buffer.subarray(at + 2, at + 2 + length), context);
      at += 2 + length;
      if (answer instanceof Promise) {
        inFlight += 1;
        void answer.then(settled);
      } else if (answer !== undefined) send(answer);
    }
    buffer = left === 0 ? Buffer.alloc(0) : buffer.subarray(at);
    leaveWhenDone();
  };
  const resume = (): void => {
    if (!paused || busy()) return;
    paused = false;
    connection.resume();
    drain();
  };
  connection.on('data', (chunk: Buffer) => {
    buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
    drain();
  });
  connection.on('drain', resume);
  connection.on('error', () => connection.destroy());
  connection.on('close', () => {
    clearTimeout(reading);
    clearTimeout(idle);
    watchWrites.stop();
  });
}

/** Destroys a connection whose client takes nothing of what waits for it for `ms`. */
function writeWatch(connection: Socket, ms: number): { wrote(): void; stop(): void } {
  let timer: NodeJS.Timeout | undefined;
  let before = 0;
  const taken = (): number => connection.bytesWritten - connection.writableLength;
  const look = (): void => {
    timer = undefined;
    if (connection.writableLength === 0 || connection.destroyed) return;
    if (taken() === before) connection.destroy();
    else arm();
  };
  const arm = (): void => {
    before = taken();
    timer = setTimeout(look, ms).unref();
  };
  return {
    wrote: () => {
      if (timer === undefined && connection.writableLength > 0) arm();
    },
    stop: () => clearTimeout(timer),
  };
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
