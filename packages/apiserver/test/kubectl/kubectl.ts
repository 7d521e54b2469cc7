import { execFile, type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const ALL = ['1.27', '1.28', '1.29', '1.30', '1.31', '1.32', '1.33'];
/** The ends and the middle; `WEFT_KUBECTL_VERSIONS=all` tests every one. */
const VERSIONS = process.env.WEFT_KUBECTL_VERSIONS === 'all' ? ALL : ['1.27', '1.30', '1.33'];
const DIRECTORIES = [process.env.WEFT_KUBECTL_DIR, '/usr/lib/google-cloud-sdk/bin', '/usr/local/bin', '/usr/bin'];

/** Paths of the kubectl binaries to test with that this machine has, by version. */
export const kubectls: ReadonlyMap<string, string> = new Map(
  VERSIONS.flatMap((version) => {
    const path = DIRECTORIES.filter((d) => d !== undefined)
      .map((d) => join(d, `kubectl.${version}`))
      .find((p) => existsSync(p));
    return path === undefined ? [] : [[version, path] as const];
  }),
);

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** One kubectl binary with a home and a kubeconfig of its own. */
export class Kubectl {
  readonly #path: string;
  readonly #home: string;

  constructor(path: string, kubeconfig: string) {
    this.#path = path;
    this.#home = mkdtempSync(join(tmpdir(), 'weft-kubectl-'));
    mkdirSync(join(this.#home, '.kube'));
    writeFileSync(join(this.#home, '.kube', 'config'), kubeconfig);
  }

  /** Writes a manifest and gives its path. */
  file(name: string, manifest: object | string): string {
    const path = join(this.#home, name);
    writeFileSync(path, typeof manifest === 'string' ? manifest : JSON.stringify(manifest));
    return path;
  }

  /** Runs a command line, split at spaces outside of single quotes. */
  run(command: string): Promise<Ran> {
    return new Promise((resolve) => {
      execFile(this.#path, split(command), { env: this.#env() }, (error, out, err) => {
        resolve({ code: error === null ? 0 : Number(error.code ?? 1), out, err });
      });
    });
  }

  /** Runs a command that has to succeed, and gives what it printed, without a newline at the end. */
  async ok(command: string): Promise<string> {
    const { code, out, err } = await this.run(command);
    if (code !== 0) throw new Error(`kubectl ${command}: ${err}${out}`);
    return out.trimEnd();
  }

  /** Starts a command that goes on until it is killed. */
  start(command: string): Running {
    return new Running(spawn(this.#path, split(command), { env: this.#env(), stdio: ['ignore', 'pipe', 'inherit'] }));
  }

  remove(): void {
    rmSync(this.#home, { recursive: true, force: true });
  }

  #env(): Record<string, string> {
    return { HOME: this.#home, PATH: process.env.PATH ?? '' };
  }
}

/** A command whose output is followed. */
export class Running {
  readonly #process: ChildProcess;
  #text = '';
  #wake: (() => void) | undefined;

  constructor(process: ChildProcess) {
    this.#process = process;
    process.stdout?.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString();
      this.#wake?.();
    });
  }

  /** Waits until the command has printed a line. */
  async line(wanted: string): Promise<void> {
    while (!this.#text.split('\n').includes(wanted)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await once(this.#process, 'exit');
  }
}

function split(command: string): string[] {
  return [...command.matchAll(/'([^']*)'|(\S+)/g)].map((m) => m[1] ?? m[2] ?? '');
}
