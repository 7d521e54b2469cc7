import { type FSWatcher, mkdirSync, readdirSync, readFileSync, rmSync, statSync, watch } from 'node:fs';
import { join } from 'node:path';

/** How a container ended. */
export interface Exit {
  /** As shells count: 128 + signal for one that was killed. */
  readonly code: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/**
 * Watches the directory into which conmon writes one file per ended container, holding the exit code. The files stay
 * until `forget`, so nothing is lost while no node process runs.
 */
export class Exits {
  readonly #dir: string;
  readonly #onExit: (id: string, exit: Exit) => void;
  readonly #seen = new Set<string>();
  #watcher: FSWatcher | undefined;

  constructor(dir: string, onExit: (id: string, exit: Exit) => void) {
    this.#dir = dir;
    this.#onExit = onExit;
    mkdirSync(dir, { recursive: true });
  }

  start(): void {
    this.#watcher = watch(this.#dir, { persistent: false }, (_event, name) => {
      if (name !== null) this.#report(name);
    });
    this.scan();
  }

  /** Reports what the watcher may have missed. */
  scan(): void {
    for (const name of readdirSync(this.#dir)) this.#report(name);
  }

  /** The exit of a container, read from disk. */
  read(id: string): Exit | undefined {
    const file = join(this.#dir, id);
    try {
      const code = Number.parseInt(readFileSync(file, 'utf8'), 10);
      return Number.isNaN(code) ? undefined : { code, at: Math.floor(statSync(file).mtimeMs) };
    } catch {
      return undefined;
    }
  }

  forget(id: string): void {
    rmSync(join(this.#dir, id), { force: true });
    this.#seen.delete(id);
  }

  stop(): void {
    this.#watcher?.close();
  }

  #report(name: string): void {
    // conmon writes NAME.XXXXXX and renames it.
    if (!/^[0-9a-f]{64}$/.test(name) || this.#seen.has(name)) return;
    const exit = this.read(name);
    if (exit === undefined) return;
    this.#seen.add(name);
    this.#onExit(name, exit);
  }
}
