import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WeftError } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { numberField, parseObject, stringField } from '../spec/json.ts';

export interface ExecOptions {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** Milliseconds until the plugin is killed. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** Finds a plugin executable in the directories of CNI_PATH, in order. */
export async function findPlugin(type: string, path: readonly string[], where: string): Promise<string> {
  if (type === '' || type.includes('/') || type === '.' || type === '..') {
    throw new WeftError({ code: 'CNI_PLUGIN_NAME', message: `${where}: "${type}" is not a plugin name` });
  }
  for (const dir of path) {
    const file = join(dir, type);
    try {
      await access(file, constants.X_OK);
      return file;
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
    const child = spawn(file, [], { env: options.env, stdio: 'pipe' });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let late = false;
    const kill = (): void => {
      late = true;
      child.kill('SIGKILL');
    };
    const timer = setTimeout(kill, options.timeoutMs);
    options.signal?.addEventListener('abort', kill);
    const done = (): void => {
      clearTimeout(timer);
      options.signal?.removeEventListener('abort', kill);
    };
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => err.push(chunk));
    // A plugin may end without reading its input; its answer says why.
    child.stdin.on('error', () => {});
    child.stdin.end(options.stdin);
    child.on('error', (error) => {
      done();
      reject(error);
    });
    child.on('close', (status, signal) => {
      done();
      if (late) {
        const why = options.signal?.aborted === true ? 'was cancelled' : `did not end within ${options.timeoutMs} ms`;
        reject(new WeftError({ code: 'CNI_PLUGIN_TIMEOUT', message: `CNI plugin ${file} ${why}` }));
        return;
      }
      resolve({
        status,
        signal,
        stdout: Buffer.concat(out).toString('utf8'),
        stderr: Buffer.concat(err).toString('utf8'),
      });
    });
  });
}

/** The error a failed plugin printed; its stderr, or its exit status, when it printed none. */
function pluginError(file: string, ended: Ended): CniError {
  if (ended.stdout.trim() !== '') {
    try {
      const value = parseObject(ended.stdout, 'output');
      const code = numberField(value, 'code');
      if (code !== undefined) return new CniError(code, stringField(value, 'msg') ?? '', stringField(value, 'details'));
    } catch {
      // What it printed is quoted below.
    }
  }
  const said = (ended.stdout.trim() || ended.stderr.trim()).slice(0, 2000);
  const how = ended.signal === null ? `exit status ${ended.status}` : `signal ${ended.signal}`;
  return new CniError(CniCode.internal, `netplugin ${file} failed (${how}): ${JSON.stringify(said)}`);
}

/** Runs a plugin executable; resolves with its stdout, rejects with the CNI error it reported. */
export async function execPlugin(file: string, options: ExecOptions): Promise<string> {
  for (let attempt = 0; ; attempt++) {
    try {
      const ended = await start(file, options);
      if (ended.status === 0) return ended.stdout;
      throw pluginError(file, ended);
    } catch (error) {
      // The file is being written by an installer that does not rename.
      if ((error as NodeJS.ErrnoException).code !== 'ETXTBSY' || attempt >= 5) throw error;
      await sleep(200 * (attempt + 1));
    }
  }
}
