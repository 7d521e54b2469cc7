import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';

/** A program that ran to its end. */
export interface Ran {
  readonly command: string;
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Fed to standard input, which is empty otherwise. */
  readonly input?: string;
  readonly timeoutMs?: number;
  /** With `false` any exit status is fine; otherwise anything but 0 throws with all that was printed. */
  readonly check?: boolean;
}

const DEFAULT_TIMEOUT_MS = 60_000;
const KEPT = 6_000;

function clip(text: string): string {
  return text.length <= KEPT ? text : `[… ${text.length - KEPT} characters left out …]\n${text.slice(-KEPT)}`;
}

/** What a person needs to see of a run when something is wrong with it. */
export function describeRun(ran: Ran): string {
  return `$ ${ran.command}\n[exit ${ran.code} after ${Math.round(ran.ms)} ms]\n--- stdout\n${clip(ran.stdout)}\n--- stderr\n${clip(ran.stderr)}`;
}

function quote(argv: readonly string[]): string {
  return argv.map((a) => (/^[\w@%+=:,./-]+$/.test(a) ? a : `'${a.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** Ends a child and everything it started in its own process group. */
function killGroup(child: ChildProcess, signal: NodeJS.Signals = 'SIGKILL'): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    child.kill(signal);
  }
}

/** Runs a program to its end. It is the leader of a group of its own, so that a timeout ends its children as well. */
export function run(file: string, args: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const command = quote([file, ...args]);
  const began = performance.now();
  const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  return new Promise((resolve, reject) => {
    const spawnOptions: SpawnOptions = {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    };
    const child = spawn(file, [...args], spawnOptions);
    let stdout = '';
    let stderr = '';
    let timedOut = false;
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      stdout += chunk;
    });
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      stderr += chunk;
    });
    const timer = setTimeout(() => {
      timedOut = true;
      killGroup(child);
    }, timeoutMs);
    child.on('error', (error) => {
      clearTimeout(timer);
      reject(new Error(`cannot run ${command}: ${error.message}`));
    });
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const ran: Ran = {
        command,
        code: code ?? (signal === null ? -1 : 128),
        stdout,
        stderr,
        ms: performance.now() - began,
      };
      if (timedOut) reject(new Error(`did not end within ${timeoutMs} ms:\n${describeRun(ran)}`));
      else if (options.check !== false && ran.code !== 0) reject(new Error(`failed:\n${describeRun(ran)}`));
      else resolve(ran);
    });
    child.stdin?.on('error', () => {});
    child.stdin?.end(options.input ?? '');
  });
}

/** Throws, with everything that was printed, unless standard output (or with `in: 'stderr'` the other) matches. */
export function mustMatch(ran: Ran, pattern: RegExp, where: 'stdout' | 'stderr' = 'stdout'): RegExpExecArray {
  const match = pattern.exec(ran[where]);
  if (match === null) throw new Error(`${where} does not match ${pattern}:\n${describeRun(ran)}`);
  return match;
}

/** Throws unless the program failed and said `pattern` on standard error. */
export function mustFail(ran: Ran, pattern: RegExp): RegExpExecArray {
  if (ran.code === 0) throw new Error(`should have failed:\n${describeRun(ran)}`);
  return mustMatch(ran, pattern, 'stderr');
}

/** A program that runs while the test goes on. */
export class Running {
  readonly command: string;
  readonly child: ChildProcess;
  output = '';
  readonly #ended: Promise<number>;

  constructor(file: string, args: readonly string[], options: Pick<RunOptions, 'env' | 'cwd'> = {}) {
    this.command = quote([file, ...args]);
    this.child = spawn(file, [...args], {
      cwd: options.cwd,
      env: { ...process.env, ...options.env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        this.output += chunk;
      });
    }
    this.child.stdin?.on('error', () => {});
    this.#ended = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.output += `\n${error.message}`;
        resolve(127);
      });
      this.child.on('close', (code) => resolve(code ?? 128));
    });
  }

  get running(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  send(text: string): void {
    this.child.stdin?.write(text);
  }

  closeInput(): void {
    this.child.stdin?.end();
  }

  /** Waits until everything printed so far (from `from` on) matches. */
  async waitFor(pattern: RegExp, options: { timeoutMs?: number; from?: number } = {}): Promise<RegExpExecArray> {
    const deadline = Date.now() + (options.timeoutMs ?? 20_000);
    for (;;) {
      const match = pattern.exec(this.output.slice(options.from ?? 0));
      if (match !== null) return match;
      if (!this.running || Date.now() > deadline) {
        throw new Error(
          `${this.running ? 'did not print' : 'ended without printing'} ${pattern}:\n$ ${this.command}\n--- output\n${clip(this.output)}`,
        );
      }
      await pause(20);
    }
  }

  /** Waits for the program's own end; resolves to its exit status. */
  async ended(timeoutMs = 20_000): Promise<number> {
    const status = await Promise.race([this.#ended, pause(timeoutMs).then(() => 'timeout' as const)]);
    if (status === 'timeout') {
      this.kill();
      throw new Error(`did not end within ${timeoutMs} ms:\n$ ${this.command}\n--- output\n${clip(this.output)}`);
    }
    return status;
  }

  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    killGroup(this.child, signal);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    this.kill(signal);
    const status = await Promise.race([this.#ended, pause(5_000).then(() => 'timeout' as const)]);
    if (status === 'timeout') {
      this.kill();
      await this.#ended;
    }
  }
}

/** busybox' prompt; on a terminal of unknown size it asks for the position of the cursor as well. */
// oxlint-disable-next-line no-control-regex
export const PROMPT = /# (\u001b\[6n)?$/;

/** A command line on a terminal of its own, as a person has it. Input is what the person types. */
export class Terminal extends Running {
  constructor(argv: readonly string[], options: Pick<RunOptions, 'env' | 'cwd'> = {}) {
    super('script', ['-qefc', quote(argv), '/dev/null'], {
      ...options,
      env: { TERM: 'xterm', ...options.env },
    });
  }

  /** Types a line and waits until the answer matches; what was on the screen before does not count. */
  async ask(line: string, answer: RegExp, timeoutMs?: number): Promise<RegExpExecArray> {
    const from = this.output.length;
    this.send(`${line}\n`);
    return this.waitFor(answer, { from, ...(timeoutMs === undefined ? {} : { timeoutMs }) });
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Asks again until the probe gives something; on time-out throws with the last error. `false` and `undefined` mean: not yet. */
export async function until<T>(
  what: string,
  probe: () => Promise<T | undefined | false>,
  options: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const timeoutMs = options.timeoutMs ?? 30_000;
  const deadline = Date.now() + timeoutMs;
  let last = 'the condition was not met';
  for (;;) {
    try {
      const value = await probe();
      if (value !== undefined && value !== false) return value;
    } catch (error) {
      last = error instanceof Error ? error.message : String(error);
    }
    if (Date.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms; last: ${last}`);
    await pause(options.everyMs ?? 100);
  }
}
