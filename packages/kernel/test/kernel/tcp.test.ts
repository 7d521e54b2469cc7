import { createServer, Socket } from 'node:net';
import { expect, test } from 'vitest';
import { connectTcp, dialTcp, listenTcp, NetNs, Rtnl, setTcpMd5 } from '../../src/index.ts';

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

/** The outcome of a connection that is being opened. */
function outcome(fd: number): Promise<string> {
  const socket = new Socket({ fd, readable: true, writable: true });
  return new Promise((resolve) => {
    socket.on('error', (error) => resolve((error as NodeJS.ErrnoException).code ?? error.message));
    socket.write('', (error) => {
      if (error instanceof Error) return;
      resolve(`connected from ${socket.localAddress}`);
      socket.destroy();
    });
  });
}

test('dials from an address of choice, signed or not, without a thread that waits', async () => {
  const ns = NetNs.anonymous();
  const rtnl = Rtnl.open(ns);
  await rtnl.links.set('lo', { up: true });
  rtnl.close();
  const fd = listenTcp('127.0.0.1', 7777, ns);
  const server = createServer((socket) => socket.on('error', () => {}).end());
  await new Promise<void>((resolve) => server.listen({ fd }, resolve));
  const dial = (port: number, options: { source?: string; md5?: string } = {}): Promise<string> =>
    outcome(dialTcp('127.0.0.1', port, ns, { source: '127.0.0.5', ...options }));
  expect(await dial(7777)).toBe('connected from 127.0.0.5');
  expect(await dial(7778)).toBe('ECONNREFUSED');
  setTcpMd5(fd, '127.0.0.5', 'secret');
  expect(await dial(7777, { md5: 'secret' })).toBe('connected from 127.0.0.5');
  // Segments with no or another signature are dropped: nothing happens until the client gives up.
  const refused = [{}, { md5: 'other' }].map((options) => {
    const source = '127.0.0.5';
    return new Socket({ fd: dialTcp('127.0.0.1', 7777, ns, { source, ...options }), readable: true, writable: true });
  });
  let through = 0;
  for (const socket of refused)
    socket.on('error', () => {}).write('', (error) => (through += error instanceof Error ? 0 : 1));
  expect(await dial(7777, { md5: 'secret' })).toBe('connected from 127.0.0.5');
  expect(through).toBe(0);
  for (const socket of refused) socket.destroy();
  setTcpMd5(fd, '127.0.0.5', undefined);
  setTcpMd5(fd, '127.0.0.5', undefined);
  expect(await dial(7777)).toBe('connected from 127.0.0.5');
  expect(() => setTcpMd5(fd, '127.0.0.5', 'x'.repeat(81))).toThrow(/at most 80 bytes/);
  expect(() => dialTcp('127.0.0.1', 7777, ns, { source: '192.0.2.1' })).toThrow(/cannot connect from 192.0.2.1/);
  await new Promise((resolve) => server.close(resolve));
  ns.close();
});
