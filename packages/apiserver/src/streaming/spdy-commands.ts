import type { Duplex } from 'node:stream';
import { type ClientSession, UNHEARD } from './client.ts';
import { CHANNEL } from './kubelet.ts';
import { SpdyConnection, type SpdyStream } from './spdy.ts';

/** Remote command protocols over SPDY, best first. v4 sends the verdict as a Status on the error stream. */
export const SPDY_COMMAND_PROTOCOLS = ['v4.channel.k8s.io'] as const;

const STREAM_CHANNEL: Readonly<Record<string, number>> = {
  error: CHANNEL.error,
  stdin: CHANNEL.stdin,
  stdout: CHANNEL.stdout,
  stderr: CHANNEL.stderr,
  resize: CHANNEL.resize,
};

/** The streams that a remote command's client opens before anything happens. */
export function expectedStreams(query: URLSearchParams): number {
  const on = (name: string): boolean => query.get(name) === 'true' || query.get(name) === '1';
  const tty = on('tty');
  return 1 + (on('stdin') ? 1 : 0) + (on('stdout') ? 1 : 0) + (on('stderr') && !tty ? 1 : 0) + (tty ? 1 : 0);
}

/** A remote command over SPDY: one stream a channel. Resolves when the client has opened all of them. */
export function spdySession(socket: Duplex, head: Buffer, expected: number, timeoutMs: number): Promise<ClientSession> {
  const connection = new SpdyConnection(socket, head);
  const streams = new Map<number, SpdyStream>();
  const session: ClientSession = {
    ...UNHEARD,
    send: (channel, payload) => streams.get(channel)?.write(payload) ?? true,
    closeChannel: (channel) => streams.get(channel)?.end(),
    end: () => {
      // The verdict first, as clients read it when the output has ended.
      for (const channel of [CHANNEL.error, CHANNEL.stderr, CHANNEL.stdout]) streams.get(channel)?.end();
      connection.end();
    },
    pause: () => socket.pause(),
    resume: () => socket.resume(),
  };
  socket.on('drain', () => session.onDrain());
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(new Error('timed out waiting for the client to create streams'));
    }, timeoutMs);
    connection.onClosed = () => {
      clearTimeout(timer);
      session.onClosed();
      reject(new Error('the client went away'));
    };
    connection.onStream = (stream) => {
      const channel = STREAM_CHANNEL[stream.headers.get('streamtype')?.toLowerCase() ?? ''];
      if (channel === undefined) {
        stream.reset();
        return;
      }
      streams.set(channel, stream);
      stream.onData = (payload) => session.onData(channel, payload);
      stream.onEnd = () => session.onChannelClosed(channel);
      if (streams.size === expected) {
        clearTimeout(timer);
        resolve(session);
      }
    };
  });
}
