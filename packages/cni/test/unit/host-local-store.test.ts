import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { HostLocalStore } from '../../src/plugins/host-local-store.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-store-'));
  mkdirSync(join(dir, 'net'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const taken = async (): Promise<string[]> => {
  const store = new HostLocalStore(dir, 'net');
  return [...(await store.locked(() => store.taken()))].sort();
};
/** An address as somebody left it, last written at this time (seconds since the epoch; default now). */
function left(address: string, at?: number): void {
  const file = join(dir, 'net', address);
  writeFileSync(file, `c-${address}\r\neth0`);
  if (at !== undefined) utimesSync(file, at, at);
}

it('frees after a boot what containers held before it, once', async () => {
  expect(await taken()).toEqual([]);
  left('10.0.0.2', 1_000_000_000);
  // The directory was used in this life of the machine: whatever is in it counts.
  expect(await taken()).toEqual(['10.0.0.2']);
  writeFileSync(join(dir, 'net', 'boot_id'), 'another life\n');
  left('10.0.0.3');
  left('fd00::2', 1_000_000_000);
  // What is younger than the machine's start may be the reference plugin's.
  expect(await taken()).toEqual(['10.0.0.3']);
  expect(readFileSync(join(dir, 'net', 'boot_id'), 'utf8')).not.toBe('another life\n');
});

it('takes over a directory of the reference plugin as it is', async () => {
  left('10.0.0.2', 1_000_000_000);
  expect(await taken()).toEqual(['10.0.0.2']);
  expect(readdirSync(join(dir, 'net')).sort()).toEqual(['10.0.0.2', 'boot_id', 'lock']);
});
