import { spawn } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { errorMessage, WeftError } from '@weft/plan';
import { runsProgram } from './process.ts';
import type { Tools } from './tools.ts';

/** What it takes to start a container under its own monitor. */
export interface ConmonOptions {
  readonly tools: Tools;
  /** State directory of runc. */
  readonly runcRoot: string;
  readonly id: string;
  /** OCI bundle: `config.json`; the monitor keeps its sockets here. */
  readonly bundle: string;
  readonly logPath: string;
  readonly exitDir: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
}

/** Arguments of runc that hold for every call. */
export function runcArgs(runcRoot: string): string[] {
  // No cgroup is asked for; this makes runc go on where it may not make one (rootless, or hidden by the cluster).
  return ['--root', runcRoot, '--rootless=true'];
}

/**
 * Starts conmon, which creates the container with runc and stays as its monitor: it writes the log, keeps the exit code
 * and outlives this process. Resolves with the pid of the container's first process, which waits for `releaseContainer`.
 * Throws WeftError START_FAILED with runc's own words.
 */
export function createWithConmon(options: ConmonOptions): Promise<number> {
  const args = ['--api-version', '1', '-r', options.tools.runc, '-b', options.bundle];
  args.push('-c', options.id, '-u', options.id, '-n', options.id);
  args.push('-p', join(options.bundle, 'pid'), '-P', join(options.bundle, 'conmon.pid'));
  args.push('-l', `k8s-file:${options.logPath}`, '--exit-dir', options.exitDir, '--persist-dir', options.bundle);
  // The session keyring is a quota of 200 per user, and nothing here uses one.
  args.push('--full-attach', '--no-sync-log', '--no-new-keyring', '--log-level', 'error');
  for (const arg of runcArgs(options.runcRoot)) args.push('--runtime-arg', arg);
  if (options.tty) args.push('-t');
  if (options.stdin) args.push('-i');
  if (options.stdin && !options.stdinOnce) args.push('--leave-stdin-open');
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => reject(new WeftError({ code: 'START_FAILED', message: why }));
    const child = spawn(options.tools.conmon, args, {
      detached: true,
      cwd: '/',
      // Log times are to be in UTC, wherever the machine is.
      env: { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', TZ: 'UTC', _OCI_SYNCPIPE: '3' },
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    child.unref();
    let errors = '';
    let reply = '';
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const sync = child.stdio[3] as import('node:net').Socket;
    sync.setEncoding('utf8').on('data', (text: string) => {
      reply += text;
      if (!reply.includes('\n')) return;
      sync.destroy();
      child.stderr?.destroy();
      let answer: { data?: number; message?: string };
      try {
        answer = JSON.parse(reply) as { data?: number; message?: string };
      } catch (error) {
        return fail(`conmon answered ${JSON.stringify(reply)}: ${errorMessage(error)}`);
      }
      if (answer.data !== undefined && answer.data > 0) resolve(answer.data);
      else fail(answer.message?.trim() || `conmon could not create the container (${answer.data})`);
    });
    sync.once('close', () => fail(errors.trim() || 'conmon ended without an answer'));
    child.once('error', (error) => fail(`conmon: ${error.message}`));
  });
}

/**
 * Lets a created container run: what `runc start` does, without the 7 ms of another Go process. The waiting first
 * process opens the fifo for writing, and goes on once somebody reads it.
 */
export async function releaseContainer(runcRoot: string, id: string, isRunning: () => boolean): Promise<void> {
  const fifo = join(runcRoot, id, 'exec.fifo');
  // Without O_NONBLOCK a first process that has died would hold a thread of the pool for ever.
  const fd = openSync(fifo, constants.O_RDONLY | constants.O_NONBLOCK);
  try {
    const byte = Buffer.alloc(1);
    for (let waited = 0; ; waited++) {
      try {
        if (readSync(fd, byte, 0, 1, null) === 1) break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EAGAIN') throw error;
      }
      if (waited > 20 && !isRunning())
        throw new WeftError({ code: 'START_FAILED', message: 'the container ended before it was started' });
      await sleep(waited < 50 ? 0 : 2);
    }
  } finally {
    closeSync(fd);
  }
  rmSync(fifo, { force: true });
}

/** True while the monitor of a bundle's container runs. */
export function isMonitorAlive(bundle: string): boolean {
  try {
    return runsProgram(Number(readFileSync(join(bundle, 'conmon.pid'), 'utf8')), 'conmon');
  } catch {
    return false;
  }
}

/** containerd's wording around what runc said, which kubectl users know how to search for. */
export function startError(error: unknown): string {
  const text = errorMessage(error);
  // runc may warn before it says what went wrong.
  const lines = text.split('\n').filter((line) => line.includes('level=error'));
  const said = /msg="((?:[^"\\]|\\.)*)"/.exec(lines.at(-1) ?? '')?.[1]?.replace(/\\(.)/g, '$1') ?? text;
  return `failed to create containerd task: failed to create shim task: OCI runtime create failed: ${said}: unknown`;
}
