import { open, readdir, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { storeError } from './log.ts';
import { encodeRecord } from './record.ts';
import type { Stored } from './stored.ts';

const CHUNK = 1024 * 1024;
const EMPTY = Buffer.alloc(0);

/**
 * Writes all entries to `path`, between a `begin` and an `end` mark, durably and all or nothing (a temporary file that
 * is renamed). Throws WeftError `STORE_FULL` or `STORE_WRITE`.
 */
export async function writeSnapshot(
  path: string,
  rv: number,
  entries: readonly (readonly [key: string, entry: Stored])[],
): Promise<void> {
  const temporary = `${path}.tmp`;
  try {
    const file = await open(temporary, 'w', 0o600);
    try {
      let pending: Buffer[] = [encodeRecord({ op: 'mark', rv, key: 'begin', json: EMPTY })];
      let bytes = 0;
      for (const [key, entry] of entries) {
        const record = encodeRecord({ op: 'put', rv: entry.rv, key, json: entry.json });
        pending.push(record);
        bytes += record.length;
        if (bytes >= CHUNK) {
          await file.writeFile(Buffer.concat(pending));
          pending = [];
          bytes = 0;
        }
      }
      pending.push(encodeRecord({ op: 'mark', rv, key: 'end', json: EMPTY }));
      await file.writeFile(Buffer.concat(pending));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
    const directory = await open(dirname(path), 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    throw storeError(error);
  }
}

/** Removes the log segments and snapshots that the snapshot `segment` replaces. */
export async function removeBefore(directory: string, segment: number): Promise<void> {
  for (const name of await readdir(directory)) {
    const number = /^(?:log|snapshot)-(\d{8})$/.exec(name)?.[1];
    if (number !== undefined && Number(number) < segment) await rm(join(directory, name), { force: true });
  }
}
