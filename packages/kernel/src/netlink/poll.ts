import { isMainThread } from 'node:worker_threads';
import { KernelError } from '../errors.ts';
import { libc } from '../sys/libc.ts';

const UV_POLL = 8;
const UV_READABLE = 1;
/** How often descriptors are looked at where libuv's own loop cannot be used, milliseconds. */
const WORKER_INTERVAL = 10;

const handlers = new Map<unknown, () => void>();
const closers = new Map<unknown, () => void>();
let callbacks: { readonly poll: unknown; readonly close: unknown } | undefined;

/** True when `fn` ended without an exception. */
function run(fn: (() => void) | undefined): boolean {
  try {
    fn?.();
    return true;
  } catch (error) {
    // An exception must not pass through libuv's C frames; here it becomes an ordinary uncaught one.
    process.nextTick(() => {
      throw error;
    });
    return false;
  }
}

/**
 * A pending socket error (a netlink overrun sets ENOBUFS) makes libuv stop the handle and report a negative status. The
 * reader takes the error off the socket, and the handle is started again: else one overrun would end all announcements.
 */
function polled(handle: unknown, status: number): void {
  if (!run(handlers.get(handle)) || status >= 0 || !handlers.has(handle)) return;
  libc().uvPollStart(handle, UV_READABLE, registered().poll);
}

function registered(): { readonly poll: unknown; readonly close: unknown } {
  if (callbacks !== undefined) return callbacks;
  const { koffi } = libc();
  const poll = koffi.proto('void weft_poll(void *handle, int status, int events)');
  const close = koffi.proto('void weft_close(void *handle)');
  callbacks = {
    poll: koffi.register(polled, koffi.pointer(poll)),
    close: koffi.register((handle: unknown) => {
      run(closers.get(handle));
    }, koffi.pointer(close)),
  };
  return callbacks;
}

/**
 * Calls `onReadable` whenever the descriptor has something to read, from libuv's own loop. `close()` stops that and then
 * calls `onClosed`, where the descriptor may be closed. In worker threads, whose loop cannot be reached, it looks every 10 ms.
 */
export function watchReadable(fd: number, onReadable: () => void, onClosed: () => void): { close(): void } {
  if (!isMainThread) {
    const timer = setInterval(onReadable, WORKER_INTERVAL);
    return {
      close: () => {
        clearInterval(timer);
        onClosed();
      },
    };
  }
  const c = libc();
  const callback = registered();
  const handle: unknown = c.koffi.alloc('uint8_t', c.pollHandleSize(UV_POLL));
  const result = c.uvPollInit(c.uvDefaultLoop(), handle, fd);
  if (result !== 0) {
    c.koffi.free(handle as never);
    throw new KernelError({ errno: -result, operation: 'poll', object: `fd ${fd}` });
  }
  handlers.set(handle, onReadable);
  c.uvPollStart(handle, UV_READABLE, callback.poll);
  let open = true;
  return {
    close: () => {
      if (!open) return;
      open = false;
      handlers.delete(handle);
      c.uvPollStop(handle);
      closers.set(handle, () => {
        closers.delete(handle);
        onClosed();
        // libuv still touches the handle until this callback has returned.
        setImmediate(() => c.koffi.free(handle as never));
      });
      c.uvClose(handle, callback.close);
    },
  };
}
