import { lstat, mkdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { WeftError } from '@weft/plan';

/**
 * The real path of `path` as a process with its root at `root` would see it: symbolic links are followed without ever
 * leaving `root`. With `create`, missing directories are made.
 */
export async function resolveInRoot(root: string, path: string, options: { create?: boolean } = {}): Promise<string> {
  let todo = path.split('/').filter((part) => part !== '' && part !== '.');
  let done: string[] = [];
  let links = 0;
  while (todo.length > 0) {
    const part = todo[0] as string;
    todo = todo.slice(1);
    if (part === '..') {
      done = done.slice(0, -1);
      continue;
    }
    const here = join(root, ...done, part);
    const info = await lstat(here).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (info === undefined) {
      if (options.create === true) await mkdir(here, { mode: 0o755 });
      done.push(part);
    } else if (info.isSymbolicLink()) {
      links += 1;
      if (links > 40) throw new WeftError({ code: 'ELOOP', message: `too many symbolic links in ${path}` });
      const target = await readlink(here);
      if (target.startsWith('/')) done = [];
      todo = [...target.split('/').filter((p) => p !== '' && p !== '.'), ...todo];
    } else done.push(part);
  }
  return join(root, ...done);
}
