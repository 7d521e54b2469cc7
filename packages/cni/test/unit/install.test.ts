import {
  existsSync,
  lstatSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { installPlugins, type InstallOptions } from '../../src/index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-install-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

// Without a compiler, so that the test is the same everywhere.
const install = (more: Partial<InstallOptions> = {}) => installPlugins({ binDir: dir, sourceDir: '', ...more });

it('puts every plugin in place by rename, so that one that runs is never written to', async () => {
  const first = await install({ agentSocket: '/run/a.sock' });
  expect(first.plugins).toEqual(expect.arrayContaining(['weft', 'bridge', 'portmap', 'loopback', 'multus']));
  const before = statSync(join(dir, 'weft')).ino;
  const names = readdirSync(dir).sort();
  await install({ standalone: ['/usr/bin/node', '/opt/cni-plugin.mjs'] });
  expect(statSync(join(dir, 'weft')).ino).not.toBe(before);
  expect(readdirSync(dir).sort()).toEqual([...names, 'weft.standalone'].sort());
  // An installation that says nothing about the agent leaves it where it was.
  expect(readFileSync(join(dir, 'weft.socket'), 'utf8')).toBe('/run/a.sock\n');
  expect(lstatSync(join(dir, 'bridge')).isSymbolicLink()).toBe(true);
});

it("leaves other makers' plugins alone, unless it may replace them", async () => {
  writeFileSync(join(dir, 'bridge'), 'theirs');
  const kept = await install();
  expect(kept.kept).toEqual(['bridge']);
  expect(kept.plugins).not.toContain('bridge');
  expect(readFileSync(join(dir, 'bridge'), 'utf8')).toBe('theirs');
  expect((await install({ replace: true })).kept).toEqual([]);
  expect(lstatSync(join(dir, 'bridge')).isSymbolicLink()).toBe(true);
  expect(existsSync(join(dir, 'weft'))).toBe(true);
});
