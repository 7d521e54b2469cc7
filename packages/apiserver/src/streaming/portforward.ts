import type { Duplex } from 'node:stream';
import { openNodeStream } from './kubelet.ts';
import { SpdyConnection, type SpdyStream } from './spdy.ts';

/** Name of the stream protocol inside of SPDY. */
export const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';

interface Pair {
  error?: SpdyStream;
  data?: SpdyStream;
}

/**
 * Serves one port-forward session: for every connection the client opens a pair of streams with one `requestid`, an
 * error stream that only carries a message when something fails, and a data stream with the bytes.
 */
export function servePortForward(
  socket: Duplex,
  head: Buffer,
  node: { socketPath: string; target: (port: string) => string },
): void {
  const connection = new SpdyConnection(socket, head);
  const pairs = new Map<string, Pair>();
  const open = new Set<Duplex>();
  connection.onClosed = () => {
    for (const stream of open) stream.destroy();
  };
  connection.onStream = (stream) => {
    const id = `${stream.headers.get('port') ?? ''}/${stream.headers.get('requestid') ?? ''}`;
    const pair = pairs.get(id) ?? {};
    if (stream.headers.get('streamtype') === 'error') pair.error = stream;
    else pair.data = stream;
    pairs.set(id, pair);
    if (pair.data !== undefined && pair.error !== undefined) {
      pairs.delete(id);
      connect(pair.data, pair.error, node.socketPath, node.target(stream.headers.get('port') ?? '0'), open, socket);
    }
  };
}

function connect(
  data: SpdyStream,
  error: SpdyStream,
  socketPath: string,
  target: string,
  open: Set<Duplex>,
  client: Duplex,
): void {
  // Bytes may come before the pod's port has answered.
  const early: Buffer[] = [];
  let ended = false;
  data.onData = (payload) => early.push(Buffer.from(payload));
  data.onEnd = () => {
    ended = true;
  };
  const fail = (message: string): void => {
    error.write(Buffer.from(message));
    error.end();
    data.end();
  };
  openNodeStream(socketPath, target).then(
    (answer) => {
      if (answer.kind === 'refused') {
        fail(refusalMessage(answer.body));
        return;
      }
      const remote = answer.socket;
      open.add(remote);
      for (const payload of early) remote.write(payload);
      if (ended) remote.end();
      data.onData = (payload) => {
        if (!remote.write(payload)) client.pause();
      };
      data.onEnd = () => remote.end();
      data.onClosed = () => remote.destroy();
      const resumeRemote = (): void => void remote.resume();
      client.on('drain', resumeRemote);
      remote.on('drain', () => client.resume());
      remote.on('data', (payload: Buffer) => {
        if (!data.write(payload)) remote.pause();
      });
      remote.on('end', () => data.end());
      remote.on('error', () => remote.destroy());
      remote.on('close', () => {
        open.delete(remote);
        client.off('drain', resumeRemote);
        client.resume();
        error.end();
        data.end();
      });
      if (answer.head.length > 0) data.write(answer.head);
    },
    (cause: unknown) => fail(cause instanceof Error ? cause.message : String(cause)),
  );
}

function refusalMessage(body: Buffer): string {
  try {
    return (JSON.parse(body.toString('utf8')) as { message?: string }).message ?? body.toString('utf8');
  } catch {
    return body.toString('utf8');
  }
}
