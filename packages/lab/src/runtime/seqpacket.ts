import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';
import { WeftError } from '@weft/plan';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
const SOCK_CLOEXEC = 0o2000000;

type CFunction = (...args: unknown[]) => number;
interface Koffi {
  load(path: null): { func(name: string, result: string, args: string[]): CFunction };
  errno(): number;
}

let loaded: { koffi: Koffi; socket: CFunction; connect: CFunction } | undefined;

// Node has no sockets of this type, and the monitor has no other.
function libc(): NonNullable<typeof loaded> {
  if (loaded === undefined) {
    const koffi = createRequire(import.meta.url)('koffi') as Koffi;
    const self = koffi.load(null);
    loaded = {
      koffi,
      socket: self.func('socket', 'int', ['int', 'int', 'int']),
      connect: self.func('connect', 'int', ['int', 'void *', 'uint']),
    };
  }
  return loaded;
}

/** Connects to the SOCK_SEQPACKET socket `name` in `dir`, however long the path is. The caller closes the descriptor. */
export function connectSeqpacket(dir: string, name: string): number {
  const { koffi, socket, connect } = libc();
  const at = openSync(dir, 'r');
  try {
    const path = Buffer.from(`/proc/self/fd/${at}/${name}`);
    const address = new Uint8Array(2 + path.length + 1);
    address[0] = AF_UNIX;
    address.set(path, 2);
    const fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, address, address.length) === 0) return fd;
    const errno = koffi.errno();
    if (fd >= 0) closeSync(fd);
    throw new WeftError({ code: 'ATTACH_FAILED', message: `cannot reach the container's monitor (errno ${errno})` });
  } finally {
    closeSync(at);
  }
}
