import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import { WeftError } from '@weft/plan';

/** Programs the runtime starts, with the Debian package each comes from. */
const PACKAGES = { runc: 'runc', conmon: 'conmon', busybox: 'busybox-static', catatonit: 'catatonit' } as const;

export type Tools = Readonly<Record<keyof typeof PACKAGES, string>>;

const DIRS = ['/usr/sbin', '/usr/bin', '/sbin', '/bin', '/usr/local/sbin', '/usr/local/bin', '/usr/libexec/podman'];

function find(name: string): string | undefined {
  // The usual user's PATH has no sbin, where Debian puts runc.
  return [...DIRS, ...(process.env.PATH ?? '').split(':')]
    .filter((dir) => dir !== '')
    .map((dir) => join(dir, name))
    .find((path) => {
      try {
        accessSync(path, constants.X_OK);
        return true;
      } catch {
        return false;
      }
    });
}

/** Absolute paths of the programs. Throws WeftError TOOL_MISSING that names every package to install. */
export function findTools(): Tools {
  const out: Record<string, string> = {};
  const missing: string[] = [];
  for (const [name, debianPackage] of Object.entries(PACKAGES)) {
    const path = find(name);
    if (path === undefined) missing.push(debianPackage);
    else out[name] = path;
  }
  if (missing.length > 0) {
    throw new WeftError({
      code: 'TOOL_MISSING',
      message: `pods cannot be started: ${missing.join(', ')} not found`,
      hint: `apt-get install ${missing.join(' ')}`,
    });
  }
  return out as Tools;
}
