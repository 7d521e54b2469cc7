import { closeSync, constants, openSync, write, writeSync } from 'node:fs';
import { open } from 'node:fs/promises';
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
    // A packet that the monitor cannot take yet must not block the loop: the write happens in the thread pool.
    write(chunk: Buffer, _encoding, done) {
      void (async () => {
        for (let at = 0; at < chunk.length; at += PACKET) {
          await new Promise<void>((resolve, reject) => {
            write(fd, chunk, at, Math.min(PACKET, chunk.length - at), null, (error) =>
              error ? reject(error) : resolve(),
            );
          });
        }
      })().then(
        () => done(),
        (error: Error) => done(error),
      );
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

/** Has the monitor close its log file and open it anew, after it was renamed. */
export async function reopenLog(bundle: string): Promise<void> {
  const handle = await open(join(bundle, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await handle.write('2 0 0\n');
  } finally {
    await handle.close();
  }
}
