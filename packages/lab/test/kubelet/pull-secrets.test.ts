import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Pod, Secret } from '@weft/kube';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { writePullSecrets } from '../../src/kubelet/pull-secrets.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-auth-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64');
const SECRETS: Record<string, Record<string, string>> = {
  new: { '.dockerconfigjson': encode({ auths: { 'a.example': { auth: 'x' } } }) },
  old: { '.dockercfg': encode({ 'b.example': { auth: 'y' } }) },
  other: { key: encode('z') },
};
const objects = {
  configMap: async () => undefined,
  secret: async (_namespace: string, name: string): Promise<Secret | undefined> =>
    SECRETS[name] === undefined ? undefined : { metadata: { name }, data: SECRETS[name] },
};
const pod = (...names: string[]): Pod => ({
  metadata: { name: 'p', namespace: 'ns' },
  spec: { containers: [], imagePullSecrets: names.map((name) => ({ name })) },
});

it('become one file that only root reads, and that goes', async () => {
  const file = await writePullSecrets(objects, pod('new', 'none', 'other', 'old'), dir);
  expect(JSON.parse(readFileSync(file?.path as string, 'utf8'))).toEqual({
    auths: { 'a.example': { auth: 'x' }, 'b.example': { auth: 'y' } },
  });
  expect(statSync(file?.path as string).mode & 0o777).toBe(0o600);
  file?.remove();
  expect(readdirSync(dir)).toEqual([]);
});

it('are not written when there are none', async () => {
  expect(await writePullSecrets(objects, pod(), dir)).toBeUndefined();
  expect(await writePullSecrets(objects, pod('other'), dir)).toBeUndefined();
});
