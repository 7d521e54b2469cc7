import type { ClientSession } from './client.ts';
import { CHANNEL, FrameReader, frame, type NodeAnswer } from './kubelet.ts';

/** Joins a client's session to a node's stream of frames, in both directions and at the pace of the slower side. */
export function bridgeCommand(session: ClientSession, node: Extract<NodeAnswer, { kind: 'stream' }>): void {
  const { socket } = node;
  let done = false;
  const reader = new FrameReader((channel, payload) => {
    if (channel === CHANNEL.close) session.closeChannel(payload[0] ?? CHANNEL.stdout);
    else {
      if (!session.send(channel, Buffer.from(payload))) socket.pause();
      if (channel === CHANNEL.error) done = true;
    }
  });
  socket.on('data', (chunk: Buffer) => reader.push(chunk));
  socket.on('end', () => socket.end());
  socket.on('error', () => socket.destroy());
  socket.on('close', () => {
    if (!done) {
      // The client waits for a verdict; a node that vanishes must not look like success.
      const status = {
        kind: 'Status',
        apiVersion: 'v1',
        metadata: {},
        status: 'Failure',
        reason: 'InternalError',
        message: 'the connection to the node was lost',
        code: 500,
      };
      session.send(CHANNEL.error, Buffer.from(JSON.stringify(status)));
    }
    session.end();
  });
  socket.on('drain', () => session.resume());
  session.onDrain = () => socket.resume();
  session.onData = (channel, payload) => {
    if (!socket.write(frame(channel, payload))) session.pause();
  };
  session.onChannelClosed = (channel) => {
    socket.write(frame(CHANNEL.close, Uint8Array.of(channel)));
  };
  session.onClosed = () => socket.destroy();
  if (node.head.length > 0) reader.push(node.head);
}
