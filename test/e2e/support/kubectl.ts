import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { cacheDir, fetchKubectl } from '../../../packages/cli/src/kubectl.ts';

export interface Kubectl {
  /** Minor version, as `1.30`. */
  readonly version: string;
  readonly file: string;
}

/** The versions that are promised to work. */
const WANTED = ['1.27', '1.30', '1.33'];
const CLOUD_SDK = '/usr/lib/google-cloud-sdk/bin';
function versionOf(file: string): string | undefined {
  const ran = spawnSync(file, ['version', '--client', '-o', 'json'], { encoding: 'utf8' });
  if (ran.status !== 0) return undefined;
  try {
    const { clientVersion } = JSON.parse(ran.stdout) as { clientVersion: { major: string; minor: string } };
    return `${clientVersion.major}.${clientVersion.minor.replace(/\D.*$/, '')}`;
  } catch {
    return undefined;
  }
}

/**
 * kubectl of every wanted version: those of the machine, of directories in WEFT_E2E_KUBECTL_DIR (colons between), and
 * those fetched before; what is missing is fetched. Without a registry the versions that are there have to do.
 */
export function findKubectls(): Kubectl[] {
  const cache = cacheDir();
  const dirs = [...(process.env['WEFT_E2E_KUBECTL_DIR']?.split(':') ?? []), CLOUD_SDK, '/usr/local/bin', cache];
  const obstacles: string[] = [];
  const found = WANTED.flatMap((version) => {
    const file = dirs
      .flatMap((dir) => [path.join(dir, `kubectl.${version}`), path.join(dir, `kubectl-${version}`)])
      .find((f) => existsSync(f) && versionOf(f) === version);
    if (file !== undefined) return [{ version, file }];
    try {
      return [{ version, file: fetchKubectl(version, cache, (text) => process.stdout.write(`e2e: ${text}\n`)) }];
    } catch (error) {
      obstacles.push(error instanceof Error ? error.message : String(error));
      return [];
    }
  });
  for (const obstacle of obstacles) process.stdout.write(`e2e: ${obstacle}\n`);
  if (found.length > 0) return found;
  const version = versionOf('kubectl');
  if (version !== undefined) return [{ version, file: 'kubectl' }];
  throw new Error(
    `no kubectl: put one on the PATH, or kubectl.${WANTED.join(', kubectl.')} into a directory named by WEFT_E2E_KUBECTL_DIR`,
  );
}
