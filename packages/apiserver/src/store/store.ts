import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, type Logger, WeftError } from '@weft/plan';
import { Collection } from './collection.ts';
import { logName, openStoreFiles, snapshotName } from './files.ts';
import { lockDirectory } from './lock.ts';
import { AppendLog, type Durability } from './log.ts';
import { encodeRecord, type LogRecord, scanRecords } from './record.ts';
import { removeBefore, writeSnapshot } from './snapshot.ts';
import { type AnyObject, Stored, StoreEvent } from './stored.ts';

export interface StoreOptions {
  /** Made when missing. */
  readonly directory: string;
  /** `fsync`: an acknowledged write survives a power cut. `none`: it survives the death of the process. */
  readonly durability: Durability;
  readonly log: Logger;
  /** Events kept per resource for watches that come back. */
  readonly history?: number;
  /** Log size in bytes from which on the log is compacted (when it also is twice the size of what is alive). */
  readonly compactAbove?: number;
}

export interface Change {
  /** `group/plural`. */
  readonly collection: string;
  readonly key: string;
  /** The new state, whose resource version the store sets; undefined deletes. */
  readonly object: AnyObject | undefined;
}

const SEPARATOR = '\0';
/** Versions skipped after a crash, so that none that a watcher saw but the disk lost is handed out again. */
const CRASH_GAP = 1000;
const EMPTY = Buffer.alloc(0);

/**
 * All objects in memory, and on disk an append log with snapshots.
 *
 * A commit is synchronous: the records are written, the maps change, and watchers hear of it in one tick, so that there
 * is one order of everything and no lock. What the caller awaits is only the group commit that makes it durable.
 */
export class Store {
  readonly #options: StoreOptions;
  readonly #collections = new Map<string, Collection>();
  readonly #history: number;
  #log!: AppendLog;
  #rv = 0;
  #floor = 0;
  /** Versions that may have existed before a crash and are not known now. */
  #lost: { readonly after: number; readonly before: number } | undefined;
  #compaction: Promise<void> | undefined;
  #nextCompaction = 0;
  #closed = false;
  readonly #unlock: () => void;

  /** Loads the directory. Throws WeftError `STORE_INCOMPATIBLE`, `STORE_CORRUPT`, `STORE_UNREADABLE` or `DATA_DIR_IN_USE`. */
  constructor(options: StoreOptions) {
    this.#options = options;
    this.#history = options.history ?? 4096;
    mkdirSync(options.directory, { recursive: true, mode: 0o700 });
    this.#unlock = lockDirectory(options.directory);
    try {
      this.#load();
    } catch (error) {
      this.#unlock();
      throw error;
    }
  }

  /** The version of the last change of any object. */
  get rv(): number {
    return this.#rv;
  }

  collection(id: string): Collection {
    let collection = this.#collections.get(id);
    if (collection === undefined) {
      collection = new Collection(id, this.#floor, this.#history);
      this.#collections.set(id, collection);
    }
    return collection;
  }

  collections(): Iterable<Collection> {
    return this.#collections.values();
  }

  /** True when a watch cannot resume from `rv`: versions of that time are not known any more, or never were. */
  isExpired(collection: Collection, rv: number): boolean {
    if (rv < collection.floor || rv > this.#rv) return true;
    return this.#lost !== undefined && rv > this.#lost.after && rv < this.#lost.before;
  }

  /**
   * Applies changes at once, all or nothing. Visible when it returns; the promise resolves when it is durable.
   * Throws WeftError `STORE_FULL` or `STORE_WRITE`, and then nothing has changed.
   */
  commit(changes: readonly Change[]): { states: Stored[]; durable: Promise<void> } {
    if (this.#closed) throw new WeftError({ code: 'STORE_CLOSED', message: 'the store is closed' });
    let rv = this.#rv;
    const buffers: Buffer[] = [];
    const events: { collection: Collection; event: StoreEvent }[] = [];
    for (const change of changes) {
      const collection = this.collection(change.collection);
      const previous = collection.get(change.key);
      rv += 1;
      let event: StoreEvent;
      let json: Buffer = EMPTY;
      if (change.object === undefined) {
        if (previous === undefined) continue;
        event = new StoreEvent('DELETED', rv, previous.at(rv), previous);
      } else {
        change.object.metadata.resourceVersion = String(rv);
        const state = new Stored(change.key, rv, change.object, undefined);
        json = state.json;
        event = new StoreEvent(previous === undefined ? 'ADDED' : 'MODIFIED', rv, state, previous);
      }
      const op = change.object === undefined ? 'delete' : 'put';
      buffers.push(encodeRecord({ op, rv, key: change.collection + SEPARATOR + change.key, json }));
      events.push({ collection, event });
    }
    if (this.#log.failed !== undefined) this.#compactSoon();
    this.#log.append(buffers.length === 1 ? (buffers[0] as Buffer) : Buffer.concat(buffers));
    this.#rv = rv;
    for (const { collection, event } of events) collection.apply(event);
    if (this.#log.size > (this.#options.compactAbove ?? 32 * 1024 * 1024)) this.#compactSoon();
    return { states: events.map(({ event }) => event.current), durable: this.#log.synced() };
  }

  /** Why writes are refused at the moment, if they are. */
  get failure(): WeftError | undefined {
    return this.#log.failed;
  }

  /** Bytes of the log since the last snapshot. */
  get logSize(): number {
    return this.#log.size;
  }

  /** Writes a snapshot and drops the log before it. Runs by itself; exported for tests and orderly ends. */
  async compact(): Promise<void> {
    this.#compaction ??= this.#compactNow().finally(() => {
      this.#compaction = undefined;
    });
    return this.#compaction;
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.#compaction?.catch(() => {});
    try {
      this.#log.append(encodeRecord({ op: 'mark', rv: this.#rv, key: 'clean', json: EMPTY }));
      await this.#log.synced();
    } catch (error) {
      this.#options.log.warn('the store was closed without its end mark', { error: errorMessage(error) });
    }
    await this.#log.close();
    this.#unlock();
  }

  #compactSoon(): void {
    const live = [...this.#collections.values()].reduce((sum, c) => sum + c.bytes, 0);
    const due = this.#log.failed !== undefined || this.#log.size > 2 * live;
    if (!due || this.#compaction !== undefined || Date.now() < this.#nextCompaction) return;
    this.compact().catch((error: unknown) => {
      this.#nextCompaction = Date.now() + 5000;
      this.#options.log.warn('the store could not be compacted; it will be tried again', { error });
    });
  }

  async #compactNow(): Promise<void> {
    const { directory } = this.#options;
    const entries: [string, Stored][] = [];
    for (const collection of this.#collections.values()) {
      for (const entry of collection.list()) entries.push([collection.id + SEPARATOR + entry.key, entry]);
    }
    const rv = this.#rv;
    this.#log.rotate();
    const segment = this.#log.segment;
    await writeSnapshot(join(directory, snapshotName(segment)), rv, entries);
    this.#log.recovered();
    await removeBefore(directory, segment);
  }

  #load(): void {
    const { directory, durability, log } = this.#options;
    const files = openStoreFiles(directory);
    if (files.snapshot !== undefined) this.#loadSnapshot(join(directory, snapshotName(files.snapshot)));
    this.#floor = this.#rv;
    let clean = files.segments.length === 0;
    let size = 0;
    files.segments.forEach((segment, i) => {
      const path = join(directory, logName(segment));
      const data = readFileSync(path);
      const result = scanRecords(data, 0, (record) => {
        clean = record.op === 'mark' && record.key === 'clean';
        this.#replay(record);
      });
      if (result.torn && (result.damaged || i < files.segments.length - 1)) throw corrupt(path, result.end);
      if (result.torn) {
        log.warn('the log ended in the middle of a record, which was never acknowledged', {
          path,
          bytes: data.length - result.end,
        });
      }
      size = result.end;
    });
    const segment = files.segments.at(-1) ?? files.snapshot ?? 1;
    this.#log = new AppendLog({ directory, durability, log, segment, size });
    if (!clean) {
      this.#lost = { after: this.#rv, before: this.#rv + CRASH_GAP };
      this.#rv += CRASH_GAP;
      this.#log.append(encodeRecord({ op: 'mark', rv: this.#rv, key: 'crash', json: EMPTY }));
    }
  }

  #loadSnapshot(path: string): void {
    let whole = false;
    const data = readFileSync(path);
    const result = scanRecords(data, 0, (record) => {
      if (record.op === 'mark') {
        this.#rv = record.rv;
        whole = record.key === 'end';
      } else {
        const [id, key] = splitKey(record.key);
        const json = Buffer.from(record.json);
        this.collection(id).load(new Stored(key, record.rv, undefined, json), json.length);
      }
    });
    if (result.torn || !whole) throw corrupt(path, result.end);
    // The collections were made while the version was still unknown.
    const loaded = [...this.#collections.values()];
    this.#floor = this.#rv;
    this.#collections.clear();
    for (const old of loaded) {
      const collection = this.collection(old.id);
      for (const entry of old.list()) collection.load(entry, entry.json.length);
    }
  }

  #replay(record: LogRecord): void {
    this.#rv = Math.max(this.#rv, record.rv);
    if (record.op === 'mark') return;
    const [id, key] = splitKey(record.key);
    const collection = this.collection(id);
    const previous = collection.get(key);
    if (record.op === 'delete') {
      if (previous !== undefined) {
        collection.apply(new StoreEvent('DELETED', record.rv, previous.at(record.rv), previous));
      }
      return;
    }
    const state = new Stored(key, record.rv, undefined, Buffer.from(record.json));
    collection.apply(new StoreEvent(previous === undefined ? 'ADDED' : 'MODIFIED', record.rv, state, previous));
  }
}

function splitKey(key: string): [collection: string, key: string] {
  const at = key.indexOf(SEPARATOR);
  return [key.slice(0, at), key.slice(at + 1)];
}

function corrupt(path: string, offset: number): WeftError {
  return new WeftError({
    code: 'STORE_CORRUPT',
    message: `${path} is damaged at byte ${offset}`,
    hint: 'The disk changed bytes that had been written. Restore the file from a backup, or start with an empty data directory.',
  });
}
