import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { downCluster } from '../../src/cluster/down.ts';
import { findCluster, type HostContext, listClusters } from '../../src/cluster/find.ts';

describe('names of clusters become directories that down removes', () => {
  let base: string;
  let host: HostContext;

  beforeEach(() => {
    base = mkdtempSync(path.join(tmpdir(), 'weft-names-'));
    for (const dir of ['state/images', 'state/shim', 'run', 'elsewhere'])
      mkdirSync(path.join(base, dir), { recursive: true });
    writeFileSync(path.join(base, 'state/kernel-checked'), '');
    const env = { WEFT_STATE_DIR: path.join(base, 'state'), WEFT_RUN_DIR: path.join(base, 'run') };
    // Not root: nothing of the host's network is looked at.
    host = { uid: 1000, env, self: [], home: base };
  });
  afterEach(() => rmSync(base, { recursive: true, force: true }));

  it.each(['', '.', '..', '../elsewhere', 'a/b', 'images', 'shim', 'run', 'UPPER', 'far-too-long-a-name'])(
    '"%s" is refused and nothing is removed',
    async (name) => {
      await expect(downCluster(name, host)).rejects.toMatchObject({ code: 'BAD_NAME' });
      expect(() => findCluster(name, host)).toThrow(/cannot be a cluster's name/);
      for (const dir of ['state/images', 'state/shim', 'run', 'elsewhere'])
        expect(existsSync(path.join(base, dir))).toBe(true);
    },
  );

  it('lists clusters beside files that are none', () => {
    mkdirSync(path.join(base, 'state/mine'));
    writeFileSync(path.join(base, 'state/mine/cluster.json'), '{"name":"mine"}');
    expect(listClusters(host).map((c) => c.config.name)).toEqual(['mine']);
  });
});
