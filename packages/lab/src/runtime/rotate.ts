import { constants } from 'node:fs';
import { open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Rotated files kept besides the one that is written (kubelet's containerLogMaxFiles is 5). */
const KEEP = 4;

/** Tells a container's monitor to close its log file and to open the path anew. */
async function reopen(bundle: string): Promise<void> {
  const handle = await open(join(bundle, 'ctl'), constants.O_WRONLY | constants.O_NONBLOCK);
  try {
    await handle.write('2 0 0\n');
  } finally {
    await handle.close();
  }
}

/** Moves a log that has grown beyond `maxBytes` aside, as `0.log.20260102-030405`, and drops the oldest of those. */
export async function rotateLog(bundle: string, path: string, maxBytes: number): Promise<void> {
  if ((await stat(path)).size <= maxBytes) return;
  const time = new Date().toISOString().replace(/[-:]/g, '').replace('T', '-').slice(0, 15);
  await rename(path, `${path}.${time}`);
  await reopen(bundle);
  const prefix = `${basename(path)}.`;
  const old = (await readdir(dirname(path))).filter((name) => name.startsWith(prefix)).sort();
  for (const name of old.slice(0, Math.max(0, old.length - KEEP))) await rm(join(dirname(path), name), { force: true });
}
