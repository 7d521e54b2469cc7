import { open } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { flock, LOCK_EX, LOCK_NB } from '@weft/kernel';

/** Runs `fn` while no other process of the cluster holds the lock on `path`. The lock ends with its holder. */
export async function withFileLock<T>(path: string, fn: () => Promise<T>): Promise<T> {
  const handle = await open(path, 'a');
  try {
    while (!flock(handle.fd, LOCK_EX | LOCK_NB)) await sleep(3);
    return await fn();
  } finally {
    await handle.close();
  }
}
