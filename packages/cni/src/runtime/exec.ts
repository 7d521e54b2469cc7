import { spawn } from 'node:child_process';
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { numberField, parseObject, stringField } from '../spec/json.ts';
import type { DirectAgent } from './direct.ts';

export interface ExecOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Milliseconds until the plugin is killed, with what it started. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
  /** Gets what a plugin that succeeded wrote to stderr. */
  readonly onStderr?: (text: string) => void;
  /** Asked first; what it does not answer is executed. */
  readonly direct?: DirectAgent | undefined;
}

/** Longest output of a plugin, bytes: results are a few kilobytes, and what never ends must not fill our memory. */
const OUTPUT_LIMIT = 4 << 20;
/** How long the output of a plugin that has ended is waited for when something it started keeps the pipe, ms. */
const PIPE_GRACE_MS = 1000;

/** Finds a plugin executable in the directories of CNI_PATH, in order. */
export async function findPlugin(type: string, path: readonly string[], where: string): Promise<string> {
  if (type === '' || type.includes('/') || type === '.' || type === '..' || type.includes('\0')) {
    throw new WeftError({ code: 'CNI_PLUGIN_NAME', message: `${where}: ${JSON.stringify(type)} is not a plugin name` });
  }
  for (const dir of path) {
    const file = join(dir, type);
    try {
      if ((await stat(file)).isFile()) return file;
    } catch {
      // The next directory may have it.
    }
  }
  throw new WeftError({
    code: 'CNI_PLUGIN_NOT_FOUND',
    message: `${where}: CNI plugin "${type}" is not in CNI_PATH ${path.join(':') || '(empty)'}`,
    hint: 'install the plugin into one of these directories, or correct the `type`',
  });
}

interface Ended {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

function start(file: string, options: ExecOptions): Promise<Ended> {
  return new Promise((resolve, reject) => {
    // A group of its own: what never ends is killed together with what it started.
    const child = spawn(file, [], { env: options.env, stdio: 'pipe', detached: true });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    let killed: WeftError | undefined;
    let grace: NodeJS.Timeout | undefined;
    const kill = (code: string, why: string): void => {
      if (killed !== undefined) return;
      killed = new WeftError({ code, message: `CNI plugin ${file} ${why}` });
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch {
        // It has ended just now.
      }
    };
    const late = (): void => kill('CNI_PLUGIN_TIMEOUT', `did not end within ${options.timeoutMs} ms`);
    const cancel = (): void => kill('CNI_PLUGIN_CANCELLED', 'was cancelled');
    const collect =
      (list: Buffer[]) =>
      (chunk: Buffer): void => {
        size += chunk.length;
        if (size <= OUTPUT_LIMIT) list.push(chunk);
        else kill('CNI_PLUGIN_OUTPUT', `printed more than ${OUTPUT_LIMIT >> 20} MiB`);
      };
    const timer = setTimeout(late, options.timeoutMs);
    if (options.signal?.aborted === true) cancel();
    options.signal?.addEventListener('abort', cancel);
    const done = (): void => {
      clearTimeout(timer);
      clearTimeout(grace);
      options.signal?.removeEventListener('abort', cancel);
    };
    child.stdout.on('data', collect(out));
    child.stderr.on('data', collect(err));
    // A plugin may end without reading its input; its answer says why.
    child.stdin.on('error', () => {});
    child.stdin.end(options.stdin);
    child.on('error', (error) => {
      done();
      reject(error);
    });
    const release = (): void => {
      child.stdout.destroy();
      child.stderr.destroy();
    };
    // When the time is up, what lies in the pipes is read first: a busy event loop may not have come to it.
    const lookAgain = (): void => {
      const before = size;
      setImmediate(() =>
        setImmediate(() => {
          if (size === before) release();
          else lookAgain();
        }),
      );
    };
    child.on('exit', () => {
      if (killed === undefined) grace = setTimeout(lookAgain, PIPE_GRACE_MS);
      else release();
    });
    child.on('close', (status, signal) => {
      done();
      if (killed !== undefined) reject(killed);
      else {
        resolve({
          status,
          signal,
          stdout: Buffer.concat(out).toString('utf8'),
          stderr: Buffer.concat(err).toString('utf8'),
        });
      }
    });
  });
}

/** The error a failed plugin printed; its stderr, or its exit status, when it printed none. */
function pluginError(file: string, ended: Ended): CniError {
  const how = ended.signal === null ? `exit status ${ended.status}` : `signal ${ended.signal}`;
  if (ended.stdout.trim() !== '') {
    try {
      const value = parseObject(ended.stdout, 'output');
      const code = numberField(value, 'code') ?? CniCode.internal;
      const msg = stringField(value, 'msg');
      if (msg !== undefined) return new CniError(code, msg, stringField(value, 'details'));
    } catch {
      // What it printed is quoted below.
    }
  }
  const said = (ended.stdout.trim() || ended.stderr.trim()).slice(0, 2000);
  if (said === '') return new CniError(CniCode.internal, `netplugin failed with no error message (${how})`);
  return new CniError(CniCode.internal, `netplugin ${file} failed (${how}): ${JSON.stringify(said)}`);
}

/** Runs a plugin executable; resolves with its stdout, rejects with the CNI error it reported. */
export async function execPlugin(file: string, options: ExecOptions): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      const ended = (await options.direct?.call(file, options)) ?? (await start(file, options));
      if (ended.status !== 0) throw pluginError(file, ended);
      if (ended.stderr !== '') options.onStderr?.(ended.stderr);
      return ended.stdout;
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EACCES') {
        throw new WeftError({ code: 'CNI_PLUGIN_NOT_EXECUTABLE', message: `CNI plugin ${file} cannot be executed` });
      }
      // The file is being written by an installer that does not rename.
      if (code !== 'ETXTBSY' || attempt >= 5) throw error;
      await sleep(200 * (attempt + 1));
    }
  }
}
