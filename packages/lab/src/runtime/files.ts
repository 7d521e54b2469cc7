import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** A containerd-like identifier: 64 hexadecimal digits. */
export function newId(): string {
  return randomBytes(32).toString('hex');
}

/**
 * Replaces a small JSON file in one step. Synchronous on purpose: the record must be there before the side effect it
 * describes, and a few hundred bytes cost less than a turn of the thread pool.
 */
export function writeRecord(path: string, value: unknown): void {
  const temporary = `${path}.new`;
  writeFileSync(temporary, JSON.stringify(value));
  renameSync(temporary, path);
}

/** Reads a record; undefined when it is absent or was cut off by a full disk. */
function readRecord<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as T;
  } catch {
    return undefined;
  }
}

/** The records `<dir>/<id>/<file>`; directories without a readable one are listed in `broken`. */
export function readRecords<T>(dir: string, file: string): { records: T[]; broken: string[] } {
  const records: T[] = [];
  const broken: string[] = [];
  for (const id of readdirSync(dir)) {
    const record = readRecord<T>(join(dir, id, file));
    if (record === undefined) broken.push(id);
    else records.push(record);
  }
  return { records, broken };
}
