import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type HostContext, upCluster } from '../../src/index.ts';

let dir: string;
let host: HostContext;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-up-'));
  mkdirSync(join(dir, 'bin'));
  // The first process of a cluster, ended by the signal that was meant for its parent.
  writeFileSync(join(dir, 'bin', 'unshare'), '#!/bin/sh\nkill -INT $$\n');
  chmodSync(join(dir, 'bin', 'unshare'), 0o755);
  const PATH = `${join(dir, 'bin')}:${process.env['PATH']}`;
  host = {
    uid: 0,
    env: { PATH, WEFT_STATE_DIR: join(dir, 'state'), WEFT_RUN_DIR: join(dir, 'run') },
    self: [process.execPath, join(dir, 'dist', 'weft.mjs')],
    home: dir,
  };
  mkdirSync(join(dir, 'dist'));
  writeFileSync(join(dir, 'dist', 'weft.mjs'), '');
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('a start', () => {
  it('whose first process an interrupt reached was interrupted, not failed', async () => {
    const interrupt = new AbortController();
    const events: unknown[] = [];
    const up = upCluster({ name: 'cut-unit' }, host, (event) => events.push(event), interrupt.signal);
    interrupt.abort();
    await expect(up).rejects.toMatchObject({ code: 'INTERRUPTED' });
    expect(existsSync(join(dir, 'state', 'cut-unit'))).toBe(false);
    expect(events).not.toContainEqual(expect.objectContaining({ type: 'note' }));
  });

  it('whose first process ends by itself has failed, and keeps its logs', async () => {
    const notes: string[] = [];
    const up = upCluster(
      { name: 'cut-unit' },
      host,
      (event) => event.type === 'note' && notes.push(event.text),
      new AbortController().signal,
    );
    await expect(up).rejects.toMatchObject({ code: 'START_FAILED' });
    const kept = /logs of the failed start: (\S+)/.exec(notes.join('\n'))?.[1];
    expect(existsSync(kept ?? '')).toBe(true);
    rmSync(kept ?? '', { recursive: true });
    expect(existsSync(join(dir, 'state', 'cut-unit'))).toBe(false);
  });
});
