import { readdirSync, readFileSync } from 'node:fs';
import { dirname, isAbsolute, join, resolve } from 'node:path';
import type { ImportSource } from './parser.ts';

/** Imports from the file system, relative to the importing file. */
export const fileImports: ImportSource = {
  read: (path) => readFileSync(path, 'utf8'),
  resolve: (path, importer) => (isAbsolute(path) ? path : join(dirname(resolve(importer)), path)),
  glob: (pattern) => expand(pattern),
};

function expand(pattern: string): string[] {
  const parts = pattern.split('/');
  let found = [pattern.startsWith('/') ? '/' : '.'];
  for (const part of parts.filter((piece) => piece !== '')) {
    if (!/[*?[]/.test(part)) {
      found = found.map((base) => join(base, part));
      continue;
    }
    const matcher = new RegExp(
      `^${part
        .replace(/[.+^${}()|\\]/g, '\\$&')
        .replace(/\*/g, '[^/]*')
        .replace(/\?/g, '[^/]')}$`,
    );
    found = found.flatMap((base) => {
      let names: string[];
      try {
        names = readdirSync(base);
      } catch {
        return [];
      }
      // ConfigMap mounts hold hidden directories beside the files: a leading wildcard does not mean them.
      const visible = /^[*?]/.test(part) ? names.filter((name) => !name.startsWith('.')) : names;
      return visible.filter((name) => matcher.test(name)).map((name) => join(base, name));
    });
  }
  return found.sort();
}
