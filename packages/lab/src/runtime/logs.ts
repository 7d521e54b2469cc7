import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';

/** One record of a container's log in the CRI format: `TIME STREAM TAG TEXT`. */
export interface LogRecord {
  /** RFC 3339 with nanoseconds, as the monitor wrote it. */
  readonly time: string;
  readonly stream: 'stdout' | 'stderr';
  /** True when the line goes on in the next record of the stream (tag `P`). */
  readonly partial: boolean;
  readonly text: Buffer;
}

/** Reads one line (without its newline) of a CRI log; undefined when it is not one. */
function parseLogLine(line: Buffer): LogRecord | undefined {
  const a = line.indexOf(0x20);
  const b = line.indexOf(0x20, a + 1);
  const c = line.indexOf(0x20, b + 1);
  if (a < 0 || b < 0) return undefined;
  const stream = line.toString('latin1', a + 1, b);
  if (stream !== 'stdout' && stream !== 'stderr') return undefined;
  const tag = line.toString('latin1', b + 1, c < 0 ? line.length : c);
  return {
    time: line.toString('latin1', 0, a),
    stream,
    partial: tag === 'P' || tag.startsWith('P:'),
    text: c < 0 ? Buffer.alloc(0) : line.subarray(c + 1),
  };
}

/** The options of Kubernetes' PodLogOptions that concern one file. */
export interface LogOptions {
  readonly follow?: boolean;
  /** Number of lines from the end; all when absent. */
  readonly tailLines?: number;
  /** Only lines at or after this time, in milliseconds since the epoch. */
  readonly sinceMs?: number;
  readonly timestamps?: boolean;
  readonly limitBytes?: number;
  /** Ends a follow. */
  readonly signal?: AbortSignal;
  /** While true, a follow waits for more at the end of the file. */
  readonly running?: () => boolean;
}

const CHUNK = 64 * 1024;
/** A follow looks at the file this often even without news from inotify, in milliseconds. */
const POLL_MS = 1000;

/** Offset at which the last `lines` complete lines of the file begin. A record that goes on counts with its end. */
async function tailOffset(file: FileHandle, size: number, lines: number): Promise<number> {
  if (lines <= 0) return size;
  let end = size;
  let rest: Buffer = Buffer.alloc(0);
  let found = 0;
  while (end > 0) {
    const start = Math.max(0, end - CHUNK);
    const chunk = Buffer.alloc(end - start);
    await file.read(chunk, 0, chunk.length, start);
    const data = rest.length === 0 ? chunk : Buffer.concat([chunk, rest]);
    // Lines that begin in this window, from the back.
    let stop = data.length;
    if (stop > 0 && data[stop - 1] === 0x0a) stop -= 1;
    for (;;) {
      const newline = stop > 0 ? data.lastIndexOf(0x0a, stop - 1) : -1;
      if (newline < 0 && start > 0) break;
      const line = parseLogLine(data.subarray(newline + 1, stop));
      if (line === undefined || !line.partial) {
        found += 1;
        if (found > lines) return start + stop + 1;
      }
      if (newline < 0) return 0;
      stop = newline;
    }
    rest = Buffer.from(data.subarray(0, stop + 1));
    end = start;
    // What is left over is read again together with the chunk before it.
    if (rest.length > 16 * CHUNK) return start;
  }
  return 0;
}

/**
 * The records of a log file, then (with `follow`) those that are added until the container ends, the signal aborts or
 * the reader stops. The last, still incomplete line is held back until it is complete.
 */
export async function* readLog(path: string, options: LogOptions): AsyncGenerator<LogRecord> {
  let file = await open(path, 'r');
  let watcher: FSWatcher | undefined;
  let wake: (() => void) | undefined;
  let changed = false;
  const notify = (): void => {
    changed = true;
    wake?.();
  };
  if (options.follow === true) {
    watcher = watch(path, { persistent: false }, notify);
    watcher.on('error', () => {});
    options.signal?.addEventListener('abort', notify, { once: true });
  }
  try {
    const { size } = await file.stat();
    let offset = options.tailLines === undefined ? 0 : await tailOffset(file, size, options.tailLines);
    // What is written from now on is no part of the last lines: a tail gives no more than it was asked for.
    const end = options.tailLines === undefined || options.follow === true ? Number.POSITIVE_INFINITY : size;
    let pending: Buffer = Buffer.alloc(0);
    const chunk = Buffer.alloc(CHUNK);
    for (;;) {
      if (options.signal?.aborted === true) return;
      // Asked before reading: what is written while the container ends is then still read.
      const running = options.follow === true && (options.running?.() ?? true);
      changed = false;
      const { bytesRead } = await file.read(chunk, 0, Math.min(CHUNK, end - offset), offset);
      if (bytesRead === 0) {
        if (offset >= end) return;
        const info = await file.stat();
        const current = await stat(path).catch(() => info);
        if (current.ino !== info.ino) {
          // Rotated: the monitor writes into a new file of the same name.
          await file.close();
          file = await open(path, 'r');
          watcher?.close();
          watcher = watch(path, { persistent: false }, notify);
          watcher.on('error', () => {});
          offset = 0;
          continue;
        }
        if (!running) return;
        if (info.size < offset) offset = 0;
        if (!changed) {
          await new Promise<void>((resolve) => {
            const timer = setTimeout(resolve, POLL_MS);
            wake = () => {
              clearTimeout(timer);
              resolve();
            };
          });
          wake = undefined;
        }
        continue;
      }
      offset += bytesRead;
      let data =
        pending.length === 0 ? chunk.subarray(0, bytesRead) : Buffer.concat([pending, chunk.subarray(0, bytesRead)]);
      for (let newline = data.indexOf(0x0a); newline >= 0; newline = data.indexOf(0x0a)) {
        const record = parseLogLine(data.subarray(0, newline));
        data = data.subarray(newline + 1);
        if (record === undefined) continue;
        if (options.sinceMs !== undefined && Date.parse(record.time) < options.sinceMs) continue;
        yield { ...record, text: Buffer.from(record.text) };
      }
      pending = Buffer.from(data);
    }
  } finally {
    watcher?.close();
    options.signal?.removeEventListener('abort', notify);
    await file.close();
  }
}

/** RFC 3339 in UTC with nanoseconds and `Z`, as kubectl shows log times. */
function utcTime(time: string): string {
  return time.replace(/[+-]00:00$/, 'Z');
}

/**
 * The bytes of a log as `kubectl logs` gets them: stdout and stderr together, optionally with times in front of each
 * line, cut at `limitBytes`.
 */
export async function* logBytes(path: string, options: LogOptions): AsyncGenerator<Buffer> {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let atLineStart = true;
  const newline = Buffer.from('\n');
  for await (const record of readLog(path, options)) {
    const parts: Buffer[] = [];
    if (options.timestamps === true && atLineStart) parts.push(Buffer.from(`${utcTime(record.time)} `));
    parts.push(record.text);
    if (!record.partial) parts.push(newline);
    atLineStart = !record.partial;
    const data = Buffer.concat(parts);
    if (data.length >= left) {
      yield data.subarray(0, left);
      return;
    }
    left -= data.length;
    yield data;
  }
}
