import { createRequire } from 'node:module';
import { endianness } from 'node:os';

// koffi's types are loose (functions are `any`); they are given exact shapes here and nowhere else.
type Koffi = typeof import('koffi');

type Async<A extends unknown[]> = { async(...args: [...A, (error: unknown, result: number) => void]): void };
type Fn<A extends unknown[]> = ((...args: A) => number) & Async<A>;
type Handle = unknown;

/** The C functions this package calls. Results are -1 on failure, with `errno()` telling why. */
export interface Libc {
  readonly koffi: Koffi;
  errno(): number;
  socket: Fn<[domain: number, type: number, protocol: number]>;
  bind: Fn<[fd: number, addr: Uint8Array, len: number]>;
  connect: Fn<[fd: number, addr: Uint8Array, len: number]>;
  listen: Fn<[fd: number, backlog: number]>;
  accept4: Fn<[fd: number, addr: null, len: null, flags: number]>;
  send: Fn<[fd: number, buf: Uint8Array, len: number, flags: number]>;
  recv: Fn<[fd: number, buf: Uint8Array, len: number, flags: number]>;
  sendto: Fn<[fd: number, buf: Uint8Array, len: number, flags: number, addr: Uint8Array, addrLen: number]>;
  recvfrom: Fn<[fd: number, buf: Uint8Array, len: number, flags: number, addr: Uint8Array, addrLen: Uint8Array]>;
  read: Fn<[fd: number, buf: Uint8Array, len: number]>;
  write: Fn<[fd: number, buf: Uint8Array, len: number]>;
  recvmsg: Fn<[fd: number, msg: unknown, flags: number]>;
  setsockopt: Fn<[fd: number, level: number, name: number, value: Uint8Array, len: number]>;
  getsockopt: Fn<[fd: number, level: number, name: number, value: Uint8Array, len: Uint8Array]>;
  close: Fn<[fd: number]>;
  setns: Fn<[fd: number, nstype: number]>;
  unshare: Fn<[flags: number]>;
  mount: Fn<[source: string | null, target: string, type: string | null, flags: number, data: string | null]>;
  umount2: Fn<[target: string, flags: number]>;
  prctl: Fn<[option: number, a: number, b: number, c: number, d: number]>;
  prctlString: Fn<[option: number, text: string, b: number, c: number, d: number]>;
  flock: Fn<[fd: number, operation: number]>;
  mknod: Fn<[path: string, mode: number, dev: number]>;
  sethostname: Fn<[name: string, len: number]>;
  ioctl: Fn<[fd: number, request: number, arg: Uint8Array]>;
  /** ioctl(2) whose argument is a number, not a place in memory. */
  ioctlValue: Fn<[fd: number, request: number, arg: number]>;
  getpid: Fn<[]>;
  kill: Fn<[pid: number, signal: number]>;
  syscall3: Fn<[number: number, a: number, b: number, c: number]>;
  bpf: Fn<[number: number, cmd: number, attr: Uint8Array, size: number]>;
  pollHandleSize(kind: number): number;
  uvDefaultLoop(): Handle;
  uvPollInit(loop: Handle, handle: Handle, fd: number): number;
  uvPollStart(handle: Handle, events: number, callback: Handle): number;
  uvPollStop(handle: Handle): number;
  uvClose(handle: Handle, callback: Handle): void;
}

let loaded: Libc | undefined;

/** Loads the C library and libuv (both already inside the node process) on first use. */
export function libc(): Libc {
  if (loaded !== undefined) return loaded;
  if (endianness() !== 'LE') throw new Error('@weft/kernel needs a little-endian machine');
  const koffi = createRequire(import.meta.url)('koffi') as Koffi;
  const self = koffi.load(null);
  const f = (name: string, result: string, args: string[]): never => self.func(name, result, args) as unknown as never;
  // Lazily bound: a CLI that only lists links should not pay for thirty symbol look-ups.
  const lazy = {
    socket: () => f('socket', 'int', ['int', 'int', 'int']),
    bind: () => f('bind', 'int', ['int', 'void *', 'uint']),
    connect: () => f('connect', 'int', ['int', 'void *', 'uint']),
    listen: () => f('listen', 'int', ['int', 'int']),
    accept4: () => f('accept4', 'int', ['int', 'void *', 'void *', 'int']),
    send: () => f('send', 'intptr_t', ['int', 'void *', 'size_t', 'int']),
    recv: () => f('recv', 'intptr_t', ['int', 'void *', 'size_t', 'int']),
    sendto: () => f('sendto', 'intptr_t', ['int', 'void *', 'size_t', 'int', 'void *', 'uint']),
    recvfrom: () => f('recvfrom', 'intptr_t', ['int', 'void *', 'size_t', 'int', 'void *', 'void *']),
    read: () => f('read', 'intptr_t', ['int', 'void *', 'size_t']),
    write: () => f('write', 'intptr_t', ['int', 'void *', 'size_t']),
    recvmsg: () => f('recvmsg', 'intptr_t', ['int', 'void *', 'int']),
    setsockopt: () => f('setsockopt', 'int', ['int', 'int', 'int', 'void *', 'uint']),
    getsockopt: () => f('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']),
    close: () => f('close', 'int', ['int']),
    setns: () => f('setns', 'int', ['int', 'int']),
    unshare: () => f('unshare', 'int', ['int']),
    mount: () => f('mount', 'int', ['str', 'str', 'str', 'ulong', 'str']),
    umount2: () => f('umount2', 'int', ['str', 'int']),
    prctl: () => f('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']),
    prctlString: () => f('prctl', 'int', ['int', 'str', 'ulong', 'ulong', 'ulong']),
    flock: () => f('flock', 'int', ['int', 'int']),
    mknod: () => f('mknod', 'int', ['str', 'uint', 'ulong']),
    sethostname: () => f('sethostname', 'int', ['str', 'size_t']),
    ioctl: () => f('ioctl', 'int', ['int', 'ulong', 'void *']),
    ioctlValue: () => f('ioctl', 'int', ['int', 'ulong', 'ulong']),
    getpid: () => f('getpid', 'int', []),
    kill: () => f('kill', 'int', ['int', 'int']),
    syscall3: () => f('syscall', 'long', ['long', 'long', 'long', 'long']),
    bpf: () => f('syscall', 'long', ['long', 'int', 'void *', 'uint']),
    pollHandleSize: () => f('uv_handle_size', 'size_t', ['int']),
    uvDefaultLoop: () => f('uv_default_loop', 'void *', []),
    uvPollInit: () => f('uv_poll_init', 'int', ['void *', 'void *', 'int']),
    uvPollStart: () => f('uv_poll_start', 'int', ['void *', 'int', 'void *']),
    uvPollStop: () => f('uv_poll_stop', 'int', ['void *']),
    uvClose: () => f('uv_close', 'void', ['void *', 'void *']),
  } satisfies Record<Exclude<keyof Libc, 'koffi' | 'errno'>, () => never>;
  const table = { koffi, errno: () => koffi.errno() } as unknown as Libc;
  for (const [name, make] of Object.entries(lazy)) {
    Object.defineProperty(table, name, {
      configurable: true,
      get: () => {
        const value = make();
        Object.defineProperty(table, name, { value });
        return value;
      },
    });
  }
  loaded = table;
  return table;
}
