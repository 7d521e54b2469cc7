import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, '../../../..');

/** Bundles a script so that plain node runs it, and returns the path. */
export async function bundle(script: string): Promise<string> {
  const outdir = join(root, 'node_modules/.cache/weft-lab-test');
  mkdirSync(outdir, { recursive: true });
  const outfile = join(outdir, script.replace(/\.ts$/, `-${process.pid}.mjs`));
  await build({
    entryPoints: [join(here, script)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi', 'yaml'],
    logLevel: 'error',
  });
  return outfile;
}

/** A network and mount namespace that lives as long as this object, as those of a cluster outlive its processes. */
export class Enclosure {
  readonly #keeper: ChildProcess;

  private constructor(keeper: ChildProcess) {
    this.#keeper = keeper;
  }

  static async open(): Promise<Enclosure> {
    const keeper = spawn(
      'unshare',
      ['--mount', '--net', '--', 'sh', '-c', 'ip link set lo up; echo ready; exec sleep infinity'],
      {
        stdio: ['ignore', 'pipe', 'inherit'],
      },
    );
    await new Promise((resolve, reject) => {
      keeper.stdout?.once('data', resolve);
      keeper.once('exit', reject);
    });
    return new Enclosure(keeper);
  }

  get pid(): number {
    return this.#keeper.pid as number;
  }

  run(...command: string[]): string {
    return execFileSync('nsenter', ['-t', String(this.pid), '-m', '-n', '--', ...command], { encoding: 'utf8' });
  }

  close(): void {
    this.#keeper.kill('SIGKILL');
  }
}

/** A node process inside an enclosure that answers calls over its standard streams. */
export class Host {
  readonly child: ChildProcess;
  readonly #calls = new Map<number, { resolve: (value: unknown) => void; reject: (error: Error) => void }>();
  #next = 0;

  private constructor(child: ChildProcess) {
    this.child = child;
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on('line', (line) => {
      const reply = JSON.parse(line) as { id: number; value?: unknown; error?: string };
      const call = this.#calls.get(reply.id);
      this.#calls.delete(reply.id);
      if (reply.error === undefined) call?.resolve(reply.value);
      else call?.reject(new Error(reply.error));
    });
    child.once('exit', () => {
      for (const call of this.#calls.values()) call.reject(new Error('the node process ended'));
    });
  }

  static async start(enclosure: Enclosure, script: string, ...args: string[]): Promise<Host> {
    const inside = ['-t', String(enclosure.pid), '-m', '-n', '--', process.execPath, script, ...args];
    const host = new Host(spawn('nsenter', inside, { stdio: ['pipe', 'pipe', 'inherit'] }));
    await host.call('ping');
    return host;
  }

  call<T>(method: string, ...args: unknown[]): Promise<T> {
    const id = this.#next++;
    this.child.stdin?.write(`${JSON.stringify({ id, method, args })}\n`);
    return new Promise<T>((resolve, reject) => {
      this.#calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
    });
  }

  /** Ends the process at once, as `kill -9` does. */
  async kill(): Promise<void> {
    const ended = new Promise((resolve) => this.child.once('exit', resolve));
    this.child.kill('SIGKILL');
    await ended;
  }
}
