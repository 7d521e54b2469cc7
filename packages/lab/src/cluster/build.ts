import { copyFileSync, linkSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, utimesSync } from 'node:fs';
import path from 'node:path';

/** Node's flags and the bundle's entry point, as a command line. */
type CommandLine = readonly string[];

function linkOrCopy(from: string, to: string): void {
  try {
    linkSync(from, to);
  } catch {
    // Another file system, or a file of somebody else (fs.protected_hardlinks).
    copyFileSync(from, to);
    const { atime, mtime } = statSync(from);
    // It tells whether the image that holds this build is up to date.
    utimesSync(to, atime, mtime);
  }
}

/**
 * Keeps the build that a cluster is started with, for as long as the cluster: its agents are started again and load
 * parts of the bundle late, and the checkout may have been built anew by then. Hard links where possible.
 *
 * @param self the command line of Weft; its last word is the bundle's entry point
 * @param home the checkout, whose `node_modules` has what a bundle cannot hold
 * @param dir the directory to fill; what it held goes
 * @returns the command line that runs the kept build
 */
export function keepBuild(self: CommandLine, home: string, dir: string): string[] {
  const entry = self.at(-1) ?? '';
  rmSync(dir, { recursive: true, force: true });
  mkdirSync(dir, { recursive: true });
  const from = path.dirname(entry);
  for (const name of readdirSync(from)) {
    if (name.endsWith('.mjs') || name === 'cni-shim') linkOrCopy(path.join(from, name), path.join(dir, name));
  }
  symlinkSync(path.join(home, 'node_modules'), path.join(dir, 'node_modules'));
  return [...self.slice(0, -1), path.join(dir, path.basename(entry))];
}
