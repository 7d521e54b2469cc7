import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Pod } from '@weft/kube';
import type { ObjectReader } from './environment.ts';
import { namespaceOf } from './pod.ts';

type Auths = Record<string, unknown>;

/**
 * Writes the registry credentials of a pod's `imagePullSecrets` as one docker `config.json`. Secrets that are absent or
 * hold something else are left out, as the kubelet does. Undefined when there is nothing to write.
 */
export async function writePullSecrets(
  objects: ObjectReader,
  pod: Pod,
  dir: string,
): Promise<{ readonly path: string; remove(): void } | undefined> {
  const auths: Auths = {};
  for (const { name } of pod.spec.imagePullSecrets ?? []) {
    const secret = name ? await objects.secret(namespaceOf(pod), name) : undefined;
    const wrapped = secret?.data?.['.dockerconfigjson'];
    const plain = secret?.data?.['.dockercfg'];
    try {
      const text = Buffer.from(wrapped ?? plain ?? '', 'base64').toString('utf8');
      const parsed = JSON.parse(text) as Auths;
      Object.assign(auths, wrapped === undefined ? parsed : (parsed.auths as Auths | undefined));
    } catch {}
  }
  if (Object.keys(auths).length === 0) return undefined;
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const path = join(dir, `auth-${randomBytes(6).toString('hex')}.json`);
  writeFileSync(path, JSON.stringify({ auths }), { mode: 0o600 });
  return { path, remove: () => rmSync(path, { force: true }) };
}
