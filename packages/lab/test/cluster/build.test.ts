import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { keepBuild } from '../../src/cluster/build.ts';

describe('the build that a cluster keeps', () => {
  let home: string;
  let kept: string;
  const entry = (): string => path.join(home, 'dist/weft.mjs');

  beforeEach(() => {
    home = mkdtempSync(path.join(tmpdir(), 'weft-build-'));
    kept = path.join(home, 'state/build');
    mkdirSync(path.join(home, 'dist'));
    mkdirSync(path.join(home, 'node_modules/outside'), { recursive: true });
    writeFileSync(path.join(home, 'node_modules/outside/package.json'), '{"main":"index.js"}');
    writeFileSync(path.join(home, 'node_modules/outside/index.js'), 'module.exports = "outside";');
    writeFileSync(
      entry(),
      "import outside from 'outside'; console.log((await import('./chunk-1.mjs')).version, outside);",
    );
    writeFileSync(path.join(home, 'dist/chunk-1.mjs'), 'export const version = "first";');
  });
  afterEach(() => rmSync(home, { recursive: true, force: true }));

  const run = (command: readonly string[]): string =>
    execFileSync(command[0] ?? '', command.slice(1), { encoding: 'utf8' }).trim();

  it('runs on when the checkout is built anew with parts of other names', () => {
    const command = keepBuild([process.execPath, '--no-warnings', entry()], home, kept);
    expect(command).toEqual([process.execPath, '--no-warnings', path.join(kept, 'weft.mjs')]);
    rmSync(path.join(home, 'dist'), { recursive: true });
    expect(run(command)).toBe('first outside');
  });

  it('has the times of the build, which tell whether the image of it is up to date', () => {
    keepBuild([process.execPath, entry()], home, kept);
    expect(statSync(path.join(kept, 'weft.mjs')).mtimeMs).toBe(statSync(entry()).mtimeMs);
  });

  it('takes the place of what an earlier start kept', () => {
    mkdirSync(kept, { recursive: true });
    writeFileSync(path.join(kept, 'chunk-0.mjs'), '');
    keepBuild([process.execPath, entry()], home, kept);
    expect(existsSync(path.join(kept, 'chunk-0.mjs'))).toBe(false);
    // The checkout's own modules are only pointed to.
    keepBuild([process.execPath, entry()], home, kept);
    expect(existsSync(path.join(home, 'node_modules/outside/index.js'))).toBe(true);
  });
});
