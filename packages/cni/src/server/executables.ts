import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { SHIM_MARK } from '../install/fallback.ts';

/** Tells whose the plugin executables of a directory are, so that our own ones need not be started. */
export class Executables {
  readonly #ours = new Map<string, boolean>();

  /** True when the first executable of this name is our shim, or when there is none. */
  isOurs(type: string, path: readonly string[]): boolean {
    for (const dir of path) {
      const known = this.#look(join(dir, type));
      // The next directory may have it.
      if (known !== undefined) return known;
    }
    return true;
  }

  /** True when this file is our shim. */
  isOurFile(file: string): boolean {
    return this.#look(file) ?? false;
  }

  #look(file: string): boolean | undefined {
    try {
      const { ino, mtimeMs, size } = statSync(file);
      const id = `${file} ${ino} ${mtimeMs} ${size}`;
      const known = this.#ours.get(id) ?? readFileSync(file).includes(SHIM_MARK);
      this.#ours.set(id, known);
      return known;
    } catch {
      return undefined;
    }
  }
}
