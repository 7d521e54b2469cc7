import { spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  features,
  flock,
  isKernelError,
  listenForFd,
  LOCK_EX,
  LOCK_NB,
  NetNs,
  openPty,
  readSysctl,
  Rtnl,
  setWinsize,
  spawnInNetNs,
  writeSysctl,
} from '../../src/index.ts';

let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-kernel-'));
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

function codeOf(fn: () => unknown): string | undefined {
  try {
    fn();
    return undefined;
  } catch (error) {
    return isKernelError(error) ? error.code : String(error);
  }
}

describe('network namespaces', () => {
  test('a named one is made, entered, left and removed', () => {
    const home = NetNs.current();
    const path = join(dir, 'netns', 'a');
    const ns = NetNs.create(path);
    expect(ns.inode).not.toBe(home.inode);
    expect(ns.run(() => NetNs.current().inode)).toBe(ns.inode);
    expect(() =>
      ns.run(() => {
        throw new Error('inside');
      }),
    ).toThrow('inside');
    expect(NetNs.current().inode).toBe(home.inode);
    expect(codeOf(() => NetNs.create(path))).toBe('EEXIST');
    const nested = NetNs.anonymous();
    expect(ns.run(() => nested.run(() => NetNs.current().inode))).toBe(nested.inode);
    nested.close();
    ns.close();
    expect(NetNs.open(path).inode).toBe(ns.inode);
    NetNs.remove(path);
    NetNs.remove(path);
    expect(existsSync(path)).toBe(false);
    expect(codeOf(() => NetNs.open(path))).toBe('ENOENT');
    expect(codeOf(() => ns.run(() => 1))).toBe('EBADF');
    home.close();
  });

  test('children start inside', async () => {
    const ns = NetNs.anonymous();
    const child = spawnInNetNs(ns, 'readlink', ['/proc/self/ns/net'], { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    child.stdout?.on('data', (chunk) => {
      out += String(chunk);
    });
    await new Promise((resolve) => child.once('close', resolve));
    expect(out.trim()).toBe(`net:[${ns.inode}]`);
    ns.close();
  });

  test('settings belong to the namespace', () => {
    const ns = NetNs.anonymous();
    const before = readSysctl('net.ipv4.ip_forward');
    writeSysctl('net.ipv4.ip_forward', before === '1' ? '0' : '1', ns);
    expect(readSysctl('net/ipv4/ip_forward', ns)).not.toBe(before);
    expect(readSysctl('net.ipv4.ip_forward')).toBe(before);
    expect(codeOf(() => readSysctl('net.ipv4.no_such_key', ns))).toBe('ENOENT');
    expect(codeOf(() => readSysctl('net/../../../etc/passwd'))).toBe('EINVAL');
    ns.close();
  });

  test('slow and fast requests of one socket keep their order', async () => {
    const ns = NetNs.anonymous();
    const rtnl = Rtnl.open(ns);
    await rtnl.links.add({ name: 'a', kind: 'veth', peer: { name: 'b' } });
    const results = await Promise.all([
      rtnl.links.del('a'),
      rtnl.links.get('a'),
      rtnl.links.add({ name: 'a', kind: 'bridge' }),
      rtnl.links.list(),
    ]);
    expect(results[1]).toBeUndefined();
    expect(results[3].map((l) => l.name)).toEqual(['lo', 'a']);
    rtnl.close();
    await expect(rtnl.links.list()).rejects.toThrow(/closed/);
    ns.close();
  });
});

describe('terminals and descriptors', () => {
  test('a pseudo terminal carries bytes and has a size', async () => {
    const { fd, path } = openPty();
    setWinsize(fd, 101, 37);
    const slave = openSync(path, 'r+');
    const child = spawn('stty', ['size'], { stdio: [slave, 'pipe', 'inherit'] });
    let out = '';
    child.stdout?.on('data', (chunk) => {
      out += String(chunk);
    });
    await new Promise((resolve) => child.once('close', resolve));
    expect(out.trim()).toBe('37 101');
    closeSync(slave);
    closeSync(fd);
  });

  test('a descriptor arrives over a unix socket', async () => {
    const socket = join(dir, 'console.sock');
    const listening = listenForFd(socket);
    const script = [
      'import socket, os, array, sys',
      's = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])',
      'r, w = os.pipe(); os.write(w, b"hello")',
      's.sendmsg([b"/dev/ptmx"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [r]))])',
    ].join('\n');
    const child = spawn('python3', ['-c', script, socket], { stdio: 'inherit' });
    const fd = await listening.ready;
    expect(fstatSync(fd).isFIFO()).toBe(true);
    const buffer = Buffer.alloc(16);
    expect(buffer.subarray(0, readSync(fd, buffer)).toString()).toBe('hello');
    closeSync(fd);
    await new Promise((resolve) => (child.exitCode === null ? child.once('close', resolve) : resolve(undefined)));
    expect(existsSync(socket)).toBe(false);
  });

  test('giving up waiting removes the socket', async () => {
    const socket = join(dir, 'given-up.sock');
    const listening = listenForFd(socket);
    expect(existsSync(socket)).toBe(true);
    listening.close();
    await expect(listening.ready).rejects.toThrow(/ECANCELED/);
    expect(existsSync(socket)).toBe(false);
  });

  test('a lock is held once', () => {
    const file = join(dir, 'lock');
    const a = openSync(file, 'w');
    const b = openSync(file, 'w');
    writeSync(a, 'x');
    expect(flock(a, LOCK_EX | LOCK_NB)).toBe(true);
    expect(flock(b, LOCK_EX | LOCK_NB)).toBe(false);
    closeSync(a);
    expect(flock(b, LOCK_EX | LOCK_NB)).toBe(true);
    closeSync(b);
  });
});

test('features are what this machine is known to have', async () => {
  const found = await features();
  expect(found).toMatchObject({
    netns: true,
    nftables: true,
    conntrack: true,
    links: { veth: true, bridge: true, vxlan: true, macvlan: true },
  });
});
