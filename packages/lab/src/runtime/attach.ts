import { closeSync, constants, openSync, write, writeSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { connectSeqpacket } from './seqpacket.ts';

/** conmon reads packets of at most this size. */
const PACKET = 8 * 1024;

/**
 * The standard input of a container's own process, by way of its monitor. Ending the stream ends the input of a
 * container with `stdinOnce`; others keep theirs open for the next one.
 */
export function attachStdin(bundle: string): Writable {
  const fd = connectSeqpacket(bundle, 'attach');
  let closed = false;
  const close = (): void => {
    if (!closed) closeSync(fd);
    closed = true;
  };
  const stream = new Writable({
    // A packet that the monitor cannot take yet must not block the loop: the writes happen in the thread pool.
    write(chunk: Buffer, _encoding, done) {
      const next = (at: number): void => {
        if (at >= chunk.length) return done();
        write(fd, chunk, at, Math.min(PACKET, chunk.length - at), null, (error, written) => {
          if (error) done(error);
          else next(at + written);
        });
      };
      next(0);
    },
    final(done) {
      close();
      done();
    },
    destroy(error, done) {
      close();
      done(error);
    },
  });
  stream.on('error', () => {});
  return stream;
}

/** Tells the monitor of a container with a terminal its size. Nothing happens when it has ended. */
export function resizeTerminal(bundle: string, columns: number, rows: number): void {
  let fd: number;
  try {
    fd = openSync(join(bundle, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  } catch {
    return;
  }
  try {
    writeSync(fd, `1 ${rows} ${columns}\n`);
  } finally {
    closeSync(fd);
  }
}
