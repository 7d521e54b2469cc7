import { closeSync, fsyncSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errorMessage, WeftError } from '@weft/plan';

const FORMAT = 'weft-apiserver-store';
const VERSION = 1;
const LOG = /^log-(\d{8})$/;
const SNAPSHOT = /^snapshot-(\d{8})$/;

export const logName = (segment: number): string => `log-${String(segment).padStart(8, '0')}`;
/** The snapshot holds everything before the log segment of the same number. */
export const snapshotName = (segment: number): string => `snapshot-${String(segment).padStart(8, '0')}`;

export interface StoreFiles {
  /** Number of the newest snapshot, if any. */
  readonly snapshot: number | undefined;
  /** Log segments from that snapshot on, ascending. */
  readonly segments: number[];
}

/**
 * Checks that the directory is a store of this version (or empty, which makes it one) and lists its files. Left-overs
 * of an interrupted compaction are removed. Throws WeftError `STORE_INCOMPATIBLE` or `STORE_UNREADABLE`.
 */
export function openStoreFiles(directory: string): StoreFiles {
  const formatFile = join(directory, 'format.json');
  const hint = 'Start with another data directory, or remove this one if its objects are no longer needed.';
  const names = readdirSync(directory);
  if (!names.includes('format.json')) {
    if (names.some((name) => LOG.test(name) || SNAPSHOT.test(name))) {
      throw new WeftError({
        code: 'STORE_INCOMPATIBLE',
        message: `${directory} holds a store without format.json; it cannot be told which version wrote it`,
        hint,
      });
    }
    writeFileSync(formatFile, `${JSON.stringify({ format: FORMAT, version: VERSION })}\n`);
    syncFile(formatFile);
    syncFile(directory);
    return { snapshot: undefined, segments: [] };
  }
  let header: { format?: unknown; version?: unknown };
  try {
    header = JSON.parse(readFileSync(formatFile, 'utf8')) as typeof header;
  } catch (error) {
    throw new WeftError({
      code: 'STORE_UNREADABLE',
      message: `${formatFile} cannot be read: ${errorMessage(error)}`,
      hint,
    });
  }
  if (header.format !== FORMAT || header.version !== VERSION) {
    throw new WeftError({
      code: 'STORE_INCOMPATIBLE',
      message: `${directory} holds a store of format ${String(header.format)} version ${String(header.version)}; this is ${FORMAT} version ${VERSION}`,
      hint,
    });
  }
  return list(directory, names);
}

function list(directory: string, names: readonly string[]): StoreFiles {
  const numbers = (pattern: RegExp): number[] =>
    names
      .flatMap((name) => pattern.exec(name)?.[1] ?? [])
      .map(Number)
      .sort((a, b) => a - b);
  const snapshot = numbers(SNAPSHOT).at(-1);
  for (const name of names) {
    const old = Number((LOG.exec(name) ?? SNAPSHOT.exec(name))?.[1] ?? Number.POSITIVE_INFINITY);
    if (name.endsWith('.tmp') || (snapshot !== undefined && old < snapshot)) rmSync(join(directory, name));
  }
  return { snapshot, segments: numbers(LOG).filter((n) => snapshot === undefined || n >= snapshot) };
}

/** Makes a file's or a directory's content durable. */
export function syncFile(path: string): void {
  const fd = openSync(path, 'r');
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
