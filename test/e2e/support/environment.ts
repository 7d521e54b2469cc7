import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { inject } from 'vitest';
import type { E2eEnvironment } from './global.ts';

/** The checkout under test. */
export const checkout: string = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../../..');

/** What the run as a whole shares; see global.ts. */
export function environment(): E2eEnvironment {
  return inject('e2e');
}

/** File of this suite. */
export function supportFile(name: string): string {
  const file = path.join(checkout, 'test/e2e/support', name);
  if (!existsSync(file)) throw new Error(`there is no ${file}`);
  return file;
}
