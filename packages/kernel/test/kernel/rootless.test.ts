import { execFile } from 'node:child_process';
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { expect, test } from 'vitest';

const run = promisify(execFile);

test('everything works in a user namespace; only the size of one transaction is limited', async () => {
  // Below node_modules, where the bundle finds koffi.
  const dir = join(import.meta.dirname, '../../../../node_modules/.cache/weft-kernel');
  const outfile = join(dir, `rootless-${process.pid}.mjs`);
  mkdirSync(dir, { recursive: true });
  try {
    await build({
      entryPoints: [join(import.meta.dirname, 'rootless-program.ts')],
      outfile,
      bundle: true,
      platform: 'node',
      format: 'esm',
      target: 'node20',
      external: ['koffi'],
    });
    const { stdout } = await run('unshare', [
      '--user',
      '--map-root-user',
      '--net',
      '--mount',
      process.execPath,
      outfile,
    ]);
    expect(JSON.parse(stdout)).toEqual({
      podLinks: ['lo', 'eth0'],
      announced: 'v0',
      whole: 'EMSGSIZE',
      loaded: true,
      flows: 0,
      nftables: true,
    });
  } finally {
    rmSync(outfile, { force: true });
  }
});
