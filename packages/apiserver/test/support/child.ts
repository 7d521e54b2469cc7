import { type ChildProcess, spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));

/** Bundles the server that `child-main.ts` starts; Node 20 cannot run TypeScript by itself. */
export async function bundleServer(directory: string): Promise<string> {
  const outfile = join(directory, 'server.mjs');
  await build({
    entryPoints: [join(here, 'child-main.ts')],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    external: ['koffi'],
    banner: { js: "import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);" },
    logLevel: 'error',
  });
  return outfile;
}

export interface ChildOptions {
  readonly bundle: string;
  readonly directory: string;
  readonly durability: 'fsync' | 'none';
  /** A shell command to run the server with, such as one that makes a small file system first. */
  readonly wrapper?: readonly string[];
}

/** An API server in a process of its own, to be killed. */
export class ChildServer {
  readonly socket: string;
  readonly process: ChildProcess;
  readonly #ended: Promise<void>;

  private constructor(process: ChildProcess, socket: string) {
    this.process = process;
    this.socket = socket;
    this.#ended = new Promise((resolve) => process.once('exit', () => resolve()));
  }

  static async start(options: ChildOptions): Promise<ChildServer> {
    const socket = join(options.directory, 'api.sock');
    rmSync(socket, { force: true });
    const command = [
      ...(options.wrapper ?? []),
      process.execPath,
      options.bundle,
      options.directory,
      options.durability,
    ];
    const child = spawn(command[0] as string, command.slice(1), { stdio: ['ignore', 'pipe', 'inherit'] });
    const server = new ChildServer(child, socket);
    await new Promise<void>((resolve, reject) => {
      child.stdout?.once('data', () => resolve());
      child.once('exit', (code) => reject(new Error(`the server ended with ${code} before it was ready`)));
    });
    return server;
  }

  /** kill -9. */
  async kill(): Promise<void> {
    this.process.kill('SIGKILL');
    await this.#ended;
  }

  async stop(): Promise<void> {
    this.process.kill('SIGTERM');
    await this.#ended;
  }
}
