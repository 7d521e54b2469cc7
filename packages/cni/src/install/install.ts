import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, chmod, copyFile, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { errorMessage } from '@weft/plan';
import { PLUGIN_NAMES } from '../plugins/registry.ts';
import { fallbackScript, SHIM_MARK } from './fallback.ts';

export interface InstallOptions {
  /** Directory the runtime looks for plugins in (part of its CNI_PATH). */
  readonly binDir: string;
  /**
   * The agent's socket, for configurations that do not name it (runtimes make the one of `loopback` themselves).
   * Default: none; a file that an earlier installation left stays.
   */
  readonly agentSocket?: string;
  /** Command that answers a call without an agent; the plugin's name is put behind it. Default: none. */
  readonly standalone?: readonly string[];
  /** Put ours in the place of plugins of other makers that have our names. */
  readonly replace?: boolean;
  /** Node executable for the fallback script. Default: the one that runs this. */
  readonly nodePath?: string;
  /** A shim that was built before; used when it exists. */
  readonly prebuilt?: string;
  /** Directory of shim.c and build.sh; default: native/cni-shim above this file. '' does without the compiler. */
  readonly sourceDir?: string;
  /** Where a built shim is kept for the next time. Default: a directory inside `binDir`. */
  readonly cacheDir?: string;
  /** Names to install under. */
  readonly plugins?: readonly string[];
}

export interface Installed {
  readonly kind: 'native' | 'node';
  /** Why the fallback was taken. */
  readonly why?: string;
  /** Names that lead to our plugins now. */
  readonly plugins: readonly string[];
  /** Plugins of other makers that were there and have been left alone. */
  readonly kept: readonly string[];
}

/**
 * Puts the plugin executables in place: the C shim, or where it cannot be had a script for Node. One file, `weft`, and
 * links to it, each renamed into place so that a running plugin is never written to. Other makers' plugins stay.
 */
export async function installPlugins(options: InstallOptions): Promise<Installed> {
  const { binDir } = options;
  await mkdir(binDir, { recursive: true });
  const main = join(binDir, 'weft');
  const shim = await findShim(options);
  if ('file' in shim) {
    await place(main, (temporary) => copyFile(shim.file, temporary));
  } else {
    const script = fallbackScript(options.nodePath ?? process.execPath);
    // Node takes a file without extension for CommonJS unless a package.json says otherwise, so the module has one.
    await place(`${main}.mjs`, (temporary) => writeFile(temporary, script));
    await place(main, (temporary) =>
      writeFile(temporary, launcher(options.nodePath ?? process.execPath, `${main}.mjs`)),
    );
  }
  const { agentSocket, standalone } = options;
  if (agentSocket !== undefined) {
    await place(`${main}.socket`, (temporary) => writeFile(temporary, `${agentSocket}\n`), 0o644);
  }
  if (standalone !== undefined) {
    await place(`${main}.standalone`, (temporary) => writeFile(temporary, `${standalone.join('\n')}\n`), 0o644);
  }
  const [plugins, kept]: [string[], string[]] = [['weft'], []];
  for (const name of options.plugins ?? PLUGIN_NAMES) {
    if (name === 'weft') continue;
    const file = join(binDir, name);
    if (options.replace !== true && (await isForeign(file))) {
      kept.push(name);
      continue;
    }
    await place(file, (temporary) => symlink('weft', temporary), undefined);
    plugins.push(name);
  }
  return 'file' in shim ? { kind: 'native', plugins, kept } : { kind: 'node', why: shim.why, plugins, kept };
}

/** A two-line script: it hands its own name on, which Node would otherwise lose. */
function launcher(nodePath: string, script: string): string {
  const quote = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;
  return `#!/bin/sh\n# ${SHIM_MARK} (launcher)\nWEFT_SHIM_NAME="$0" exec ${quote(nodePath)} ${quote(script)} "$@"\n`;
}

async function place(
  file: string,
  make: (temporary: string) => Promise<void>,
  mode: number | undefined = 0o755,
): Promise<void> {
  const temporary = `${file}.${process.pid}.new`;
  await rm(temporary, { force: true });
  await make(temporary);
  if (mode !== undefined) await chmod(temporary, mode);
  await rename(temporary, file);
}

/** True for a plugin that is there and not ours. */
async function isForeign(file: string): Promise<boolean> {
  try {
    return !(await readFile(file)).includes(SHIM_MARK);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ENOENT';
  }
}

async function findShim(options: InstallOptions): Promise<{ readonly file: string } | { readonly why: string }> {
  if (options.prebuilt !== undefined && (await runs(options.prebuilt))) return { file: options.prebuilt };
  const dir = options.sourceDir ?? (await defaultSourceDir());
  if (dir === '') return { why: 'neither a built shim nor its source is here' };
  let source: Buffer;
  try {
    source = await readFile(join(dir, 'shim.c'));
  } catch (error) {
    return { why: `the source of the shim cannot be read: ${errorMessage(error)}` };
  }
  const hash = createHash('sha256').update(source).update(process.arch).digest('hex').slice(0, 16);
  const built = join(options.cacheDir ?? join(options.binDir, '.weft'), `shim-${hash}`);
  if (await runs(built)) return { file: built };
  await mkdir(dirname(built), { recursive: true });
  const failure = await new Promise<string | undefined>((resolve) => {
    execFile('/bin/sh', [join(dir, 'build.sh'), built], (error, _stdout, stderr) => {
      resolve(error === null ? undefined : stderr.trim().split('\n').at(-1) || error.message);
    });
  });
  if (failure !== undefined) return { why: failure };
  return (await runs(built)) ? { file: built } : { why: `${built} does not run here` };
}

/** True when the file is a shim that this machine can execute. */
async function runs(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
  } catch {
    return false;
  }
  return new Promise((resolve) => {
    execFile(file, [`--${SHIM_MARK}`], { timeout: 5000 }, (error) => resolve(error === null));
  });
}

async function defaultSourceDir(): Promise<string> {
  for (let dir = dirname(fileURLToPath(import.meta.url)); ; dir = dirname(dir)) {
    const candidate = join(dir, 'native', 'cni-shim');
    try {
      await access(join(candidate, 'shim.c'));
      return candidate;
    } catch {
      if (dir === dirname(dir)) return '';
    }
  }
}
