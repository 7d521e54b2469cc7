import { closeSync, constants, fdatasync, fdatasyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import { logName, syncFile } from './files.ts';

export type Durability = 'fsync' | 'none';

interface Waiter {
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The append side of the store: one file at a time, written synchronously (a record that was accepted survives the
 * death of the process) and made durable by group commit (one `fdatasync` for all records written since the last).
 */
export class AppendLog {
  readonly #directory: string;
  readonly #durability: Durability;
  readonly #log: Logger;
  #fd: number;
  #segment: number;
  #size: number;
  #waiters: Waiter[] = [];
  #syncing = false;
  #idle: (() => void)[] = [];
  #failed: WeftError | undefined;

  /** Opens `segment` for appending at `size`; what lies behind it (a torn tail) is cut off. */
  constructor(options: { directory: string; durability: Durability; log: Logger; segment: number; size: number }) {
    this.#directory = options.directory;
    this.#durability = options.durability;
    this.#log = options.log;
    this.#segment = options.segment;
    this.#size = options.size;
    this.#fd = this.#open(options.segment);
    ftruncateSync(this.#fd, options.size);
  }

  get segment(): number {
    return this.#segment;
  }

  /** Bytes in the current segment. */
  get size(): number {
    return this.#size;
  }

  /** Set once an fdatasync failed: what the disk holds is unknown until a new segment behind a snapshot begins. */
  get failed(): WeftError | undefined {
    return this.#failed;
  }

  /** Appends bytes. Nothing is left behind when it throws (`STORE_FULL`, `STORE_WRITE`). */
  append(bytes: Buffer): void {
    if (this.#failed !== undefined) throw this.#failed;
    let written = 0;
    try {
      while (written < bytes.length) {
        written += writeSync(this.#fd, bytes, written, bytes.length - written, this.#size + written);
      }
    } catch (error) {
      if (written > 0) this.#cut();
      throw storeError(error);
    }
    this.#size += bytes.length;
  }

  /** Resolves once everything appended so far is on disk. */
  synced(): Promise<void> {
    if (this.#failed !== undefined) return Promise.reject(this.#failed);
    if (this.#durability === 'none') return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.#sync();
    });
  }

  /** Makes the current segment durable and continues in the next. */
  rotate(): void {
    if (this.#durability === 'fsync' && this.#failed === undefined) fdatasyncSync(this.#fd);
    let fd: number;
    try {
      fd = this.#open(this.#segment + 1);
    } catch (error) {
      throw storeError(error);
    }
    const old = this.#fd;
    // A running fdatasync still uses the old descriptor.
    if (this.#syncing) this.#idle.push(() => closeSync(old));
    else closeSync(old);
    this.#fd = fd;
    this.#segment += 1;
    this.#size = 0;
  }

  /** To be called when a snapshot has replaced everything a failed sync may have lost. */
  recovered(): void {
    this.#failed = undefined;
  }

  async close(): Promise<void> {
    if (this.#syncing) await new Promise<void>((resolve) => this.#idle.push(resolve));
    closeSync(this.#fd);
  }

  #open(segment: number): number {
    // Not in append mode: Linux ignores the position of a write then, and a failed write could not be overwritten.
    const fd = openSync(join(this.#directory, logName(segment)), constants.O_RDWR | constants.O_CREAT, 0o600);
    if (this.#durability === 'fsync') syncFile(this.#directory);
    return fd;
  }

  #cut(): void {
    try {
      ftruncateSync(this.#fd, this.#size);
    } catch (error) {
      // The next append overwrites the rest, and its checksum guards what it does not reach.
      this.#log.warn('could not cut off a half-written record', { error });
    }
  }

  #sync(): void {
    if (this.#syncing || this.#waiters.length === 0) return;
    this.#syncing = true;
    const batch = this.#waiters;
    this.#waiters = [];
    fdatasync(this.#fd, (error) => {
      this.#syncing = false;
      if (error) {
        this.#failed = storeError(error);
        this.#log.error('the store could not be made durable; writes are refused', { error });
        for (const waiter of batch) waiter.reject(this.#failed);
      } else for (const waiter of batch) waiter.resolve();
      const idle = this.#idle;
      this.#idle = [];
      for (const done of idle) done();
      if (this.#failed === undefined) this.#sync();
      else {
        const rest = this.#waiters;
        this.#waiters = [];
        for (const waiter of rest) waiter.reject(this.#failed);
      }
    });
  }
}

/** A file system error as the store's own: `STORE_FULL` when there is no room, else `STORE_WRITE`. */
export function storeError(error: unknown): WeftError {
  const code = (error as { code?: unknown }).code;
  if (code === 'ENOSPC' || code === 'EDQUOT' || code === 'EFBIG') {
    return new WeftError({
      code: 'STORE_FULL',
      message: 'the store has no space left on its disk: database space exceeded',
      hint: 'Free space on the disk of the data directory; writes work again at once.',
      cause: error,
    });
  }
  return new WeftError({
    code: 'STORE_WRITE',
    message: `the store could not be written: ${errorMessage(error)}`,
    cause: error,
  });
}
