import { closeSync, fstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { KernelError, isKernelError } from '../errors.ts';
import { EEXIST, ENOENT } from '../errno.ts';
import { libc } from './libc.ts';
import { mount, MNT_DETACH, MS_BIND, umount2 } from './mount.ts';

const CLONE_NEWNET = 0x40000000;
const SIOCGSKNS = 0x894c;
const SELF = '/proc/thread-self/ns/net';

let poolWarm = false;

/**
 * Threads inherit the namespace of the thread that starts them, so libuv's pool must exist before this thread visits
 * another namespace: else its DNS look-ups would happen there for ever.
 */
function warmPool(): void {
  if (poolWarm) return;
  poolWarm = true;
  libc().getpid.async(() => {});
}

/** A network namespace held open by a file descriptor. */
export class NetNs {
  /** Path it was opened by. */
  readonly path: string;
  readonly fd: number;
  /** Identity: two handles with one inode are one namespace. */
  readonly inode: bigint;
  #open = true;

  private constructor(path: string, fd: number) {
    this.path = path;
    this.fd = fd;
    this.inode = fstatSync(fd, { bigint: true }).ino;
  }

  static #fromPath(path: string): NetNs {
    let fd: number;
    try {
      fd = openSync(path, 'r');
    } catch (error) {
      const errno = -((error as NodeJS.ErrnoException).errno ?? -ENOENT);
      throw new KernelError({ errno, operation: 'open network namespace', object: path });
    }
    return new NetNs(path, fd);
  }

  /** The namespace of the calling thread. */
  static current(): NetNs {
    return NetNs.#fromPath(SELF);
  }

  static open(path: string): NetNs {
    return NetNs.#fromPath(path);
  }

  static ofPid(pid: number): NetNs {
    return NetNs.#fromPath(`/proc/${pid}/ns/net`);
  }

  /** The namespace a socket belongs to. */
  static ofSocket(fd: number): NetNs {
    const c = libc();
    const ns = c.ioctl(fd, SIOCGSKNS, new Uint8Array(8));
    if (ns < 0) throw new KernelError({ errno: c.errno(), operation: 'open network namespace of', object: `fd ${fd}` });
    return new NetNs(`/proc/self/fd/${ns}`, ns);
  }

  /** A new namespace bind-mounted on `path` (made when absent); it lives until `remove`. Its `lo` is down. */
  static create(path: string): NetNs {
    mkdirSync(dirname(path), { recursive: true });
    try {
      writeFileSync(path, '', { flag: 'wx', mode: 0o444 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      if (isNamespace(path)) {
        throw new KernelError({ errno: EEXIST, operation: 'add network namespace', object: path });
      }
    }
    try {
      inNewNamespace(() => mount(SELF, path, '', MS_BIND));
    } catch (error) {
      rmSync(path, { force: true });
      throw error;
    }
    return NetNs.open(path);
  }

  /** A new namespace without a name: it ends when the handle is closed and nothing else uses it. */
  static anonymous(): NetNs {
    return inNewNamespace(() => {
      const fd = openSync(SELF, 'r');
      return new NetNs(`/proc/self/fd/${fd}`, fd);
    });
  }

  /** Unmounts and unlinks a named namespace; nothing happens when it is absent. Processes inside keep it alive. */
  static remove(path: string): void {
    for (;;) {
      try {
        umount2(path, MNT_DETACH);
      } catch (error) {
        if (isKernelError(error, 'EINVAL') || isKernelError(error, 'ENOENT')) break;
        throw error;
      }
    }
    rmSync(path, { force: true });
  }

  /**
   * Runs `fn` with the calling thread inside this namespace and comes back before returning. Only what `fn` does
   * synchronously happens inside; sockets it opens stay in the namespace for good.
   */
  run<T>(fn: () => T): T {
    if (!this.#open)
      throw new KernelError({ errno: 9, operation: 'enter closed network namespace', object: this.path });
    warmPool();
    const c = libc();
    const back = openSync(SELF, 'r');
    try {
      if (c.setns(this.fd, CLONE_NEWNET) !== 0)
        throw new KernelError({ errno: c.errno(), operation: 'enter network namespace', object: this.path });
      try {
        return fn();
      } finally {
        // Going on in the wrong namespace would configure somebody else's network.
        if (c.setns(back, CLONE_NEWNET) !== 0) process.abort();
      }
    } finally {
      closeSync(back);
    }
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }
}

function inNewNamespace<T>(fn: () => T): T {
  warmPool();
  const c = libc();
  const back = openSync(SELF, 'r');
  try {
    if (c.unshare(CLONE_NEWNET) !== 0)
      throw new KernelError({ errno: c.errno(), operation: 'add network namespace', object: 'for this thread' });
    try {
      return fn();
    } finally {
      if (c.setns(back, CLONE_NEWNET) !== 0) process.abort();
    }
  } finally {
    closeSync(back);
  }
}

const NS_GET_NSTYPE = 0xb703;

function isNamespace(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    return libc().ioctl(fd, NS_GET_NSTYPE, new Uint8Array(8)) === CLONE_NEWNET;
  } finally {
    closeSync(fd);
  }
}
