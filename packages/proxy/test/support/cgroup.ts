import { mkdirSync, mkdtempSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { MNT_DETACH, mount, umount2 } from '@weft/kernel';

/** A control group of a test's own, and a directory for pins. */
export class TestCgroup {
  readonly #dir = mkdtempSync(path.join(tmpdir(), 'weft-cgroup-'));
  readonly pins = path.join(this.#dir, 'pins');
  readonly directory: string;
  readonly cgroup = (): string => this.directory;

  constructor() {
    const root = path.join(this.#dir, 'cgroup2');
    mkdirSync(root);
    mount('cgroup2', root, 'cgroup2', 0);
    this.directory = path.join(root, path.basename(this.#dir));
    mkdirSync(this.directory);
  }

  /** Moves processes in. */
  enter(...pids: readonly number[]): void {
    for (const pid of pids) writeFileSync(path.join(this.directory, 'cgroup.procs'), String(pid));
  }

  /** When all processes in it have ended. */
  close(): void {
    rmdirSync(this.directory);
    umount2(path.dirname(this.directory), MNT_DETACH);
    try {
      umount2(this.pins, MNT_DETACH);
    } catch {
      // Nothing was pinned.
    }
    rmSync(this.#dir, { recursive: true });
  }
}
