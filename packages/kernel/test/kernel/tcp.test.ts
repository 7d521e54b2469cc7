import { createServer, Socket } from 'node:net';
import { expect, test } from 'vitest';
import { connectTcp, listenTcp, NetNs, Rtnl } from '../../src/index.ts';

test('TCP sockets live in the namespace they are opened in', async () => {
  const ns = NetNs.anonymous();
  const rtnl = Rtnl.open(ns);
  await rtnl.links.set('lo', { up: true });
  rtnl.close();
  const server = createServer((socket) => socket.end('hello'));
  await new Promise<void>((resolve) => server.listen({ fd: listenTcp('127.0.0.1', 7777, ns) }, resolve));
  expect(() => listenTcp('127.0.0.1', 7777, ns)).toThrow(/cannot listen on 127.0.0.1:7777/);
  await expect(connectTcp('127.0.0.1', 7778, ns)).rejects.toThrow(/ECONNREFUSED/);
  const socket = new Socket({ fd: await connectTcp('127.0.0.1', 7777, ns) });
  let text = '';
  socket.on('data', (chunk) => {
    text += String(chunk);
  });
  await new Promise((resolve) => socket.once('close', resolve));
  expect(text).toBe('hello');
  await new Promise((resolve) => server.close(resolve));
  ns.close();
});
