import {
  closeSync,
  existsSync,
  fsyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
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
  /** Bytes up to the end of the last whole line; 0 when there was no journal. */
  readonly length: number;
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
  /** Removals that a full disk has kept from being written. */
  #owed: Line<R>[] = [];

  private constructor(path: string, stamp: JournalStamp, records: Map<string, R>, size: number, log: Logger) {
    this.#path = path;
    this.#stamp = stamp;
    this.#records = records;
    this.#log = log;
    this.#size = size;
    this.#fd = openSync(path, 'a', 0o600);
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
    let size: number;
    try {
      size = writeSnapshot(path, stamp, contents.records);
    } catch (error) {
      // On a full disk the old file serves, if it is of this life; what is wired must be known.
      if (contents.length === 0 || contents.dropped !== undefined) throw error;
      log.warn('cannot rewrite a journal; going on with the old one', { path, error });
      truncateSync(path, contents.length);
      size = contents.length;
    }
    return { journal: new Journal<R>(path, stamp, new Map(contents.records), size, log), contents };
  }

  /** Stores a record; throws CniError code 5, with nothing changed, when it cannot be written. */
  put(key: string, record: R): void {
    this.#append({ put: key, record });
    this.#records.set(key, record);
  }

  /** Removes a record. What cannot be written now is written before the next record. */
  remove(key: string, at: number): void {
    this.#records.delete(key);
    const line = { del: key, at };
    try {
      this.#append(line);
    } catch (error) {
      this.#owed.push(line);
      this.#log.warn('cannot journal a removal yet', { key, error });
    }
  }

  close(): void {
    closeSync(this.#fd);
  }

  #append(line: Line<R>): void {
    const lines = [...this.#owed, line];
    const bytes = Buffer.from(lines.map((item) => `${JSON.stringify(item)}\n`).join(''));
    let done = 0;
    try {
      while (done < bytes.length) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      // A half-written line would swallow the next one.
      if (done > 0) ftruncateSync(this.#fd, this.#size);
      throw new CniError(CniCode.io, `cannot write ${this.#path}: ${errorMessage(error)}`, undefined, error);
    }
    this.#owed = [];
    this.#size += bytes.length;
    this.#lines += lines.length;
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
  } catch (error) {
    // Half a file would take the room that the journal may need.
    rmSync(temporary, { force: true });
    throw error;
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
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const lines = text.split('\n');
  const length = Buffer.byteLength(text.slice(0, text.lastIndexOf('\n') + 1));
  lines.forEach((item, i) => {
    if (item === '') return;
    const line = parseLine<R>(item);
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
  if (dropped === undefined) return { records, removed, dropped, damagedLines, length };
  const count = records.size;
  return { records: new Map(), removed: new Map(), dropped: { ...dropped, count }, damagedLines, length };
}
