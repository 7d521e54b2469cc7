import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '@weft/plan';

/** When a process started, in clock ticks since boot: tells a process from a later one with the same id. */
function startedAt(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold anything; the 20th field behind it is the start time.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19];
  } catch {
    return undefined;
  }
}

/**
 * Takes a data directory for this process. Gives the function that lets it go. A lock whose process is gone is taken
 * over. Throws WeftError `DATA_DIR_IN_USE`.
 */
export function lockDirectory(directory: string): () => void {
  const path = join(directory, 'lock');
  const own = JSON.stringify({ pid: process.pid, started: startedAt(process.pid) });
  for (;;) {
    try {
      writeFileSync(path, own, { flag: 'wx', mode: 0o600 });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
    const holder = readHolder(path);
    if (holder !== undefined && startedAt(holder.pid) === holder.started) {
      throw new WeftError({
        code: 'DATA_DIR_IN_USE',
        message: `the data directory ${directory} is in use by process ${holder.pid}`,
        hint: 'Stop that API server first, or give this one another data directory.',
      });
    }
    rmSync(path, { force: true });
  }
}

function readHolder(path: string): { pid: number; started: string | undefined } | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as { pid: number; started: string | undefined };
  } catch {
    return undefined;
  }
}
