import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { ReadStream } from 'node:tty';
import { openPty, setWinsize } from '@weft/kernel';
import { WeftError } from '@weft/plan';
import { runcArgs } from './conmon.ts';
import { newId } from './files.ts';
import type { Tools } from './tools.ts';

export interface ExecOptions {
  readonly command: readonly string[];
  readonly tty: boolean;
  readonly stdin: boolean;
  /** Size of the terminal from the start. */
  readonly size?: { readonly columns: number; readonly rows: number };
}

/** A process started in a running container. */
export interface ExecSession {
  /** Where input goes; absent unless asked for. */
  readonly stdin: Writable | undefined;
  /** With a terminal, everything it shows. */
  readonly stdout: Readable;
  /** Absent with a terminal. */
  readonly stderr: Readable | undefined;
  resize(columns: number, rows: number): void;
  /** Sends SIGKILL to the process. */
  kill(): void;
  /** What happens when the other side of a terminal is gone: SIGHUP. */
  hangUp(): void;
  /** Exit code, once all output was given out. Rejects with WeftError EXEC_FAILED when the process could not be started. */
  readonly done: Promise<number>;
}

export interface ExecContext {
  readonly tools: Tools;
  readonly runcRoot: string;
  /** A directory for short-lived files. */
  readonly tmpDir: string;
  /** Directory with the container's `config.json`. */
  readonly bundleOf: (id: string) => string;
}

/** The container's own process with another command: same environment, user and capabilities. */
function processSpec(bundle: string, options: ExecOptions): string {
  const { process } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as {
    process: { env: string[] } & Record<string, unknown>;
  };
  const env = process.env.filter((entry) => !options.tty || !entry.startsWith('TERM='));
  const { size } = options;
  return JSON.stringify({
    ...process,
    terminal: options.tty,
    args: options.command,
    env: options.tty ? [...env, 'TERM=xterm'] : env,
    ...(options.tty && size !== undefined ? { consoleSize: { width: size.columns, height: size.rows } } : {}),
  });
}

/** The message runc left in its JSON log. */
function runtimeError(log: string): string | undefined {
  let text: string;
  try {
    text = readFileSync(log, 'utf8');
  } catch {
    return undefined;
  }
  for (const line of text.split('\n').reverse()) {
    if (!line.includes('"level":"error"')) continue;
    return (JSON.parse(line) as { msg: string }).msg;
  }
  return undefined;
}

const hasContent = (path: string): boolean => {
  try {
    return statSync(path).size > 0;
  } catch {
    return false;
  }
};

/** Runs a command in a container with its environment and user, optionally on a terminal of its own. */
export function execInContainer(context: ExecContext, id: string, options: ExecOptions): ExecSession {
  mkdirSync(context.tmpDir, { recursive: true });
  const base = join(context.tmpDir, `exec-${newId().slice(0, 16)}`);
  const log = `${base}.log`;
  const pidFile = `${base}.pid`;
  const spec = `${base}.json`;
  writeFileSync(spec, processSpec(context.bundleOf(id), options), { mode: 0o600 });
  const args = [...runcArgs(context.runcRoot), '--log', log, '--log-format', 'json', 'exec', '--pid-file', pidFile];
  if (options.tty) args.push('--tty');
  args.push('--process', spec, id);
  const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' };

  let child: ChildProcess;
  let terminal: ReadStream | undefined;
  let stderr: Readable | undefined;
  let master = -1;
  if (options.tty) {
    const pty = openPty();
    master = pty.fd;
    if (options.size !== undefined) setWinsize(master, options.size.columns, options.size.rows);
    const slave = openSync(pty.path, 'r+');
    try {
      child = spawn(context.tools.runc, args, { cwd: '/', env, stdio: [slave, slave, slave], detached: true });
    } finally {
      closeSync(slave);
    }
    terminal = new ReadStream(master);
    // The other side of a terminal that closes is reported as an I/O error.
    terminal.on('error', () => terminal?.destroy());
  } else {
    child = spawn(context.tools.runc, args, {
      cwd: '/',
      env,
      stdio: [options.stdin ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    child.stdin?.on('error', () => {});
    // runc writes its own complaint to the same stderr; it is thrown instead of shown.
    stderr = (child.stderr as Readable).filter(() => !hasContent(log));
  }

  const done = new Promise<number>((resolve, reject) => {
    child.once('error', (error) =>
      reject(new WeftError({ code: 'EXEC_FAILED', message: error.message, cause: error })),
    );
    child.once(options.tty ? 'exit' : 'close', (code, signal) => {
      const why = runtimeError(log);
      if (why === undefined) return resolve(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15));
      reject(new WeftError({ code: 'EXEC_FAILED', message: `OCI runtime exec failed: ${why}: unknown` }));
    });
  }).finally(() => {
    for (const path of [log, pidFile, spec]) rmSync(path, { force: true });
  });
  done.catch(() => {});
  return {
    stdin: options.stdin ? ((terminal ?? child.stdin) as Writable) : undefined,
    stdout: (terminal ?? child.stdout) as Readable,
    stderr,
    resize: (columns, rows) => {
      if (terminal === undefined || terminal.destroyed) return;
      setWinsize(master, columns, rows);
      // The terminal is not runc's controlling one, so nobody else tells it.
      child.kill('SIGWINCH');
    },
    // runc hands every signal on to the process.
    hangUp: () => void child.kill('SIGHUP'),
    kill: () => {
      try {
        process.kill(Number(readFileSync(pidFile, 'utf8')), 'SIGKILL');
      } catch {
        child.kill('SIGKILL');
      }
    },
    done,
  };
}

/** Result of a command that was run to its end. */
export interface ExecResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** Runs a command to its end; kills it after `timeoutMs`. Output beyond `maxBytes` (default 10 KiB) is dropped. */
export async function execSync(
  context: ExecContext,
  id: string,
  command: readonly string[],
  timeoutMs: number,
  maxBytes = 10 * 1024,
): Promise<ExecResult> {
  const session = execInContainer(context, id, { command, tty: false, stdin: false });
  const collect = (stream: Readable | undefined): (() => string) => {
    const parts: Buffer[] = [];
    let size = 0;
    stream?.on('data', (chunk: Buffer) => {
      if (size < maxBytes) parts.push(chunk);
      size += chunk.length;
    });
    return () => Buffer.concat(parts).subarray(0, maxBytes).toString('utf8');
  };
  const stdout = collect(session.stdout);
  const stderr = collect(session.stderr);
  let timedOut = false;
  const timer =
    timeoutMs > 0
      ? setTimeout(() => {
          timedOut = true;
          session.kill();
        }, timeoutMs)
      : undefined;
  try {
    const code = await session.done;
    return { code, stdout: stdout(), stderr: stderr(), timedOut };
  } finally {
    clearTimeout(timer);
  }
}
