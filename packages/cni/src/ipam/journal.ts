import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { errorMessage, type Logger } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';

/** What the records of a journal are valid for: they die with the kernel that held what they describe. */
export interface JournalStamp {
  /** /proc/sys/kernel/random/boot_id */
  readonly boot: string;
  /** Inode of the node's network namespace, as text. */
  readonly netns: string;
}

/** What a journal held when it was opened. */
export interface JournalContents<R> {
  readonly records: Map<string, R>;
  /** Key → milliseconds since the epoch of its removal, and the record as it last was. */
  readonly removed: Map<string, { readonly at: number; readonly record: R | undefined }>;
  /** Why earlier records were dropped, when they were. */
  readonly dropped: { readonly count: number; readonly why: 'boot' | 'netns' } | undefined;
  /** Lines that could not be read, the torn last line of a crash excepted. */
  readonly damagedLines: number;
}

type Line<R> = { put: string; record: R } | { del: string; at: number } | JournalStamp;

/**
 * A map on disk: one JSON line per change, rewritten when mostly history.
 *
 * A change is in the page cache when `put` or `remove` returns, so it survives `kill -9` of this process. It is not
 * flushed to the disk: a crash of the machine takes the namespaces with it, and the boot id then voids the records.
 */
export class Journal<R> {
  readonly #path: string;
  readonly #stamp: JournalStamp;
  readonly #records: Map<string, R>;
  readonly #log: Logger;
  #fd: number;
  #size: number;
  #lines: number;

  private constructor(path: string, stamp: JournalStamp, records: Map<string, R>, log: Logger) {
    this.#path = path;
    this.#stamp = stamp;
    this.#records = records;
    this.#log = log;
    const written = writeSnapshot(path, stamp, records);
    this.#fd = openSync(path, 'a', 0o600);
    this.#size = written;
    this.#lines = records.size + 1;
  }

  /** Opens or creates a journal. Records stamped by another boot or another node namespace are dropped. */
  static open<R>(
    path: string,
    stamp: JournalStamp,
    log: Logger,
  ): { journal: Journal<R>; contents: JournalContents<R> } {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    const contents = read<R>(path, stamp);
    return { journal: new Journal<R>(path, stamp, new Map(contents.records), log), contents };
  }

  put(key: string, record: R): void {
    this.#append({ put: key, record });
    this.#records.set(key, record);
  }

  remove(key: string, at: number): void {
    this.#records.delete(key);
    this.#append({ del: key, at });
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(line: Line<R>): void {
    const bytes = Buffer.from(`${JSON.stringify(line)}\n`);
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      // A half-written line would swallow the next one.
      if (done > 0) ftruncateSync(this.#fd, this.#size);
      throw new CniError(CniCode.io, `cannot write ${this.#path}: ${errorMessage(error)}`, undefined, error);
    }
    this.#size += bytes.length;
    this.#lines += 1;
    if (this.#lines > 1024 + 4 * this.#records.size) this.#compact();
  }

  #compact(): void {
    try {
      const size = writeSnapshot(this.#path, this.#stamp, this.#records);
      const fd = openSync(this.#path, 'a', 0o600);
      closeSync(this.#fd);
      this.#fd = fd;
      this.#size = size;
    } catch (error) {
      // The long journal is as good as the short one; it is tried again later.
      this.#log.warn('cannot compact the allocation journal', { path: this.#path, error });
    }
    this.#lines = this.#records.size + 1;
  }
}

function writeSnapshot<R>(path: string, stamp: JournalStamp, records: ReadonlyMap<string, R>): number {
  const lines: Line<R>[] = [{ boot: stamp.boot, netns: stamp.netns }];
  for (const [key, record] of records) lines.push({ put: key, record });
  const bytes = Buffer.from(lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const temporary = `${path}.new`;
  const fd = openSync(temporary, 'w', 0o600);
  try {
    for (let done = 0; done < bytes.length; ) done += writeSync(fd, bytes, done);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
  return bytes.length;
}

function parseLine<R>(text: string): Line<R> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== 'object' || value === null) return undefined;
    if ('put' in value && 'record' in value) return value as Line<R>;
    if ('del' in value && 'at' in value) return value as Line<R>;
    return 'boot' in value && 'netns' in value ? (value as Line<R>) : undefined;
  } catch {
    return undefined;
  }
}

function read<R>(path: string, stamp: JournalStamp): JournalContents<R> {
  const records = new Map<string, R>();
  const removed = new Map<string, { at: number; record: R | undefined }>();
  let dropped: JournalContents<R>['dropped'];
  let damagedLines = 0;
  const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n') : [];
  lines.forEach((text, i) => {
    if (text === '') return;
    const line = parseLine<R>(text);
    if (line === undefined) {
      if (i < lines.length - 1) damagedLines += 1;
    } else if ('put' in line) {
      records.set(line.put, line.record);
      removed.delete(line.put);
    } else if ('del' in line) {
      removed.set(line.del, { at: line.at, record: records.get(line.del) });
      records.delete(line.del);
    } else if (line.boot !== stamp.boot || line.netns !== stamp.netns) {
      dropped = { count: 0, why: line.boot === stamp.boot ? 'netns' : 'boot' };
    }
  });
  if (dropped === undefined) return { records, removed, dropped, damagedLines };
  const count = records.size;
  return { records: new Map(), removed: new Map(), dropped: { ...dropped, count }, damagedLines };
}
