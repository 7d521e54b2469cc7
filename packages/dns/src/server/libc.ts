import { createRequire } from 'node:module';

type Koffi = typeof import('koffi');
type Fn<A extends unknown[]> = (...args: A) => number;

/** Calls of the C library that move datagrams. Each gives -1 when it fails. */
export interface Libc {
  readonly koffi: Koffi;
  readonly socket: Fn<[number, number, number]>;
  readonly bind: Fn<[number, Uint8Array, number]>;
  readonly connect: Fn<[number, Uint8Array, number]>;
  readonly close: Fn<[number]>;
  /** `how`: 0 to read no more. Wakes who waits for datagrams, in any thread. */
  readonly shutdown: Fn<[number, number]>;
  readonly getsockname: Fn<[number, Uint8Array, Uint8Array]>;
  readonly poll: Fn<[Uint8Array, number, number]>;
  readonly sendto: Fn<[number, Uint8Array, number, number, Uint8Array, number]>;
  readonly setsockopt: Fn<[number, number, number, Uint8Array, number]>;
  readonly recvmmsg: Fn<[number, unknown, number, number, null]>;
  readonly sendmmsg: Fn<[number, unknown, number, number]>;
}

let loaded: Libc | undefined | false;

/** Undefined without FFI, or on a machine of another layout. */
export function libc(): Libc | undefined {
  if (loaded !== undefined) return loaded === false ? undefined : loaded;
  loaded = false;
  if (process.platform !== 'linux' || !['x64', 'arm64'].includes(process.arch)) return undefined;
  try {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const self = koffi.load(null);
    const f = (name: string, args: string[]): never => self.func(name, 'int', args) as unknown as never;
    loaded = {
      koffi,
      socket: f('socket', ['int', 'int', 'int']),
      bind: f('bind', ['int', 'void *', 'uint']),
      connect: f('connect', ['int', 'void *', 'uint']),
      close: f('close', ['int']),
      shutdown: f('shutdown', ['int', 'int']),
      getsockname: f('getsockname', ['int', 'void *', 'void *']),
      poll: f('poll', ['void *', 'ulong', 'int']),
      sendto: f('sendto', ['int', 'void *', 'size_t', 'int', 'void *', 'uint']),
      setsockopt: f('setsockopt', ['int', 'int', 'int', 'void *', 'uint']),
      recvmmsg: f('recvmmsg', ['int', 'void *', 'uint', 'int', 'void *']),
      sendmmsg: f('sendmmsg', ['int', 'void *', 'uint', 'int']),
    };
    return loaded;
  } catch {
    return undefined;
  }
}

const M_ARENA_MAX = -8;

/**
 * Asks glibc for one heap instead of one per thread, and to give back what lies free: threads here hold little, and what
 * reading a whole cluster takes is not needed again. Other C libraries have no such calls and do as they do.
 */
export function saveMemory(): void {
  const koffi = libc()?.koffi;
  if (koffi === undefined) return;
  try {
    const self = koffi.load(null);
    (self.func('mallopt', 'int', ['int', 'int']) as unknown as Fn<[number, number]>)(M_ARENA_MAX, 1);
    (self.func('malloc_trim', 'int', ['size_t']) as unknown as Fn<[number]>)(0);
  } catch {
    // Not glibc.
  }
}
