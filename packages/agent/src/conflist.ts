import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';

/**
 * Writes a network configuration where runtimes look for it, by rename, and only when it differs: a runtime that
 * watches the directory must not see half a file or a change that is none. True when it was written.
 */
export function writeConflist(confDir: string, fileName: string, conflist: Readonly<Record<string, unknown>>): boolean {
  const file = path.join(confDir, fileName);
  const text = `${JSON.stringify(conflist, undefined, 2)}\n`;
  try {
    if (readFileSync(file, 'utf8') === text) return false;
  } catch {
    // Not there yet.
  }
  mkdirSync(confDir, { recursive: true });
  const temporary = path.join(confDir, `.${fileName}.new`);
  writeFileSync(temporary, text);
  renameSync(temporary, file);
  return true;
}
