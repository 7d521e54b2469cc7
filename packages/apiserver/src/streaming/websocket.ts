import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { type WebSocket, WebSocketServer } from 'ws';
import { type ClientSession, UNHEARD } from './client.ts';
import { CHANNEL } from './kubelet.ts';

/** Subprotocols of kubectl's remote commands, best first. v5 adds half-close (KEP-4006). */
export const COMMAND_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;
/** SPDY frames inside of binary messages: port-forward of kubectl 1.31 and later. */
export const TUNNEL_PROTOCOL = 'SPDY/3.1+portforward.k8s.io';

/** Largest buffered output before a slow client stops its source. */
const HIGH_WATER_BYTES = 1 << 20;

export function isWebSocket(request: IncomingMessage): boolean {
  return request.headers.upgrade?.toLowerCase() === 'websocket';
}

/** What the client offers, in its order. */
export function offeredProtocols(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '').split(',').flatMap((p) => p.trim() || []);
}

/** Completes the handshake with exactly this subprotocol. */
export function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<WebSocket> {
  // The library refuses names with a slash, which Kubernetes uses: it never sees them.
  delete request.headers['sec-websocket-protocol'];
  const server = new WebSocketServer({ noServer: true, perMessageDeflate: false, maxPayload: 64 << 20 });
  server.on('headers', (headers: string[]) => headers.push(`Sec-WebSocket-Protocol: ${protocol}`));
  return new Promise((resolve) => server.handleUpgrade(request, socket, head, resolve));
}

function asBuffer(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Buffer.isBuffer(data)) return data;
  return Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data);
}

/** A remote command over WebSocket: the first byte of each message is its channel. */
export function webSocketSession(ws: WebSocket, protocol: string): ClientSession {
  const session: ClientSession = {
    ...UNHEARD,
    send(channel, payload) {
      const message = Buffer.allocUnsafe(payload.length + 1);
      message[0] = channel;
      message.set(payload, 1);
      ws.send(message, () => {
        if (ws.bufferedAmount < HIGH_WATER_BYTES) session.onDrain();
      });
      return ws.bufferedAmount < HIGH_WATER_BYTES;
    },
    closeChannel(channel) {
      if (protocol === 'v5.channel.k8s.io' && ws.readyState === ws.OPEN) ws.send(Buffer.of(CHANNEL.close, channel));
    },
    end: () => ws.close(1000),
    pause: () => ws.pause(),
    resume: () => ws.resume(),
  };
  ws.on('message', (data) => {
    const message = asBuffer(data);
    if (message.length === 0) return;
    const channel = message[0] as number;
    if (channel === CHANNEL.close && protocol === 'v5.channel.k8s.io')
      session.onChannelClosed(message[1] ?? CHANNEL.stdin);
    else session.onData(channel, message.subarray(1));
  });
  ws.on('close', () => session.onClosed());
  ws.on('error', () => ws.terminate());
  return session;
}
