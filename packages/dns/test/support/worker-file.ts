import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { build } from 'esbuild';

/** The workers' program, built from the sources as they are. */
export async function buildWorker(): Promise<{ readonly file: URL; remove(): void }> {
  const root = path.resolve(import.meta.dirname, '../../../..');
  // Within the checkout, so that it finds the FFI library.
  const folder = mkdtempSync(path.join(root, 'node_modules/.weft-worker-'));
  const outfile = path.join(folder, 'dns-worker.mjs');
  await build({
    entryPoints: [path.join(root, 'packages/dns/src/fast/worker.ts')],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    external: ['koffi'],
    logLevel: 'silent',
  });
  return { file: pathToFileURL(outfile), remove: () => rmSync(folder, { recursive: true, force: true }) };
}
