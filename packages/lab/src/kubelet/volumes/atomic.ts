import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { WeftError } from '@weft/plan';

export interface FileContent {
  readonly data: Buffer;
  readonly mode: number;
}

/** Files of a volume by their relative path. */
export type Payload = ReadonlyMap<string, FileContent>;

const DATA = '..data';

function checkPath(path: string): void {
  const parts = path.split('/');
  const bad = path === '' || path.startsWith('/') || parts.includes('..') || parts[0]?.startsWith('..') === true;
  if (bad) throw new WeftError({ code: 'BAD_VOLUME_PATH', message: `invalid path: ${path}` });
}

function same(dir: string, payload: Payload): boolean {
  const current = join(dir, DATA);
  if (!existsSync(current)) return false;
  const found: string[] = [];
  const walk = (prefix: string): void => {
    for (const entry of readdirSync(join(current, prefix), { withFileTypes: true })) {
      const path = prefix === '' ? entry.name : `${prefix}/${entry.name}`;
      if (entry.isDirectory()) walk(path);
      else found.push(path);
    }
  };
  walk('');
  return (
    found.length === payload.size &&
    found.every((path) => payload.get(path)?.data.equals(readFileSync(join(current, path))) === true)
  );
}

/**
 * Writes files so that a reader sees either all old or all new ones: they are links into `..data`, itself a link to a
 * dated directory that is switched by one rename. Returns false when nothing had changed. `gid` is the pod's fsGroup.
 */
export function writeAtomically(dir: string, payload: Payload, gid?: number): boolean {
  for (const path of payload.keys()) checkPath(path);
  mkdirSync(dir, { recursive: true });
  if (same(dir, payload)) return false;
  const stamp = new Date().toISOString().replace(/[-:]/g, '_').replace('T', '_').slice(0, 19);
  const name = `..${stamp}.${randomBytes(5).toString('hex')}`;
  const fresh = join(dir, name);
  mkdirSync(fresh, { mode: 0o755 });
  for (const [path, { data, mode }] of payload) {
    const file = join(fresh, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, data, { mode: 0o600 });
    if (gid !== undefined) chownSync(file, -1, gid);
    chmodSync(file, gid === undefined ? mode : mode | 0o440);
  }
  let old: string | undefined;
  try {
    old = readlinkSync(join(dir, DATA));
  } catch {}
  const next = join(dir, `${DATA}_tmp`);
  rmSync(next, { force: true });
  symlinkSync(name, next);
  renameSync(next, join(dir, DATA));
  const tops = new Set([...payload.keys()].map((path) => path.split('/')[0] as string));
  for (const top of tops) {
    if (!existsSync(join(dir, top))) {
      rmSync(join(dir, top), { force: true });
      symlinkSync(`${DATA}/${top}`, join(dir, top));
    }
  }
  for (const entry of readdirSync(dir)) {
    if (!entry.startsWith('..') && !tops.has(entry)) rmSync(join(dir, entry), { force: true });
  }
  if (old !== undefined && old !== name) rmSync(join(dir, old), { recursive: true, force: true });
  return true;
}
