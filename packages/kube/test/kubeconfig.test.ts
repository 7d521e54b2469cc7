import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { KubeClient, loadKubeconfig } from '../src/index.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'weft-kube-'));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(dir, { recursive: true, force: true });
});

function write(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const b64 = (text: string): string => Buffer.from(text).toString('base64');
const config = `
apiVersion: v1
kind: Config
current-context: main
contexts:
- {name: main, context: {cluster: c, user: inline, namespace: web}}
- {name: files, context: {cluster: files, user: files}}
- {name: token, context: {cluster: c, user: token}}
- {name: exec, context: {cluster: c, user: exec}}
- {name: lost, context: {cluster: nope}}
- {name: anonymous, context: {cluster: c}}
clusters:
- name: c
  cluster: {server: "https://10.0.0.1:6443", certificate-authority-data: ${b64('CA')}, tls-server-name: api}
- name: files
  cluster: {server: "https://x", certificate-authority: pki/ca.crt, insecure-skip-tls-verify: true}
users:
- {name: inline, user: {client-certificate-data: ${b64('CERT')}, client-key-data: ${b64('KEY')}}}
- {name: files, user: {client-certificate: pki/c.crt, client-key: pki/c.key}}
- {name: token, user: {token: secret}}
- {name: exec, user: {exec: {command: aws}}}
`;

describe('kubeconfig', () => {
  it('reads certificates that lie in the file', async () => {
    const path = write('config', config);
    expect(await loadKubeconfig(path)).toEqual({
      context: 'main',
      cluster: 'c',
      user: 'inline',
      namespace: 'web',
      transport: {
        kind: 'http',
        url: 'https://10.0.0.1:6443',
        ca: Buffer.from('CA'),
        cert: Buffer.from('CERT'),
        key: Buffer.from('KEY'),
        serverName: 'api',
      },
    });
  });

  it('reads files relative to the kubeconfig', async () => {
    mkdirSync(join(dir, 'pki'));
    for (const name of ['ca.crt', 'c.crt', 'c.key']) write(join('pki', name), name);
    const { transport, namespace } = await loadKubeconfig(write('config', config), 'files');
    expect(namespace).toBe('default');
    expect(transport).toMatchObject({
      ca: Buffer.from('ca.crt'),
      cert: Buffer.from('c.crt'),
      key: Buffer.from('c.key'),
      insecureSkipTlsVerify: true,
    });
  });

  it('reads tokens, and contexts without a user', async () => {
    const path = write('config', config);
    expect((await loadKubeconfig(path, 'token')).transport).toMatchObject({ token: 'secret' });
    expect((await loadKubeconfig(path, 'anonymous')).user).toBeUndefined();
  });

  it('merges the files of KUBECONFIG: the first one wins, missing ones do not matter', async () => {
    const one = write('one', 'current-context: token\n');
    const two = write('two', config);
    const three = write('three', 'current-context: main\nclusters: [{name: c, cluster: {server: "https://other"}}]\n');
    vi.stubEnv('KUBECONFIG', [join(dir, 'none'), one, two, three].join(':'));
    const loaded = await loadKubeconfig();
    expect(loaded.context).toBe('token');
    expect(loaded.transport).toMatchObject({ url: 'https://10.0.0.1:6443' });
    const client = await KubeClient.fromKubeconfig(undefined, 'token');
    expect(client.target).toBe('https://10.0.0.1:6443');
    client.close();
  });

  it.each([
    ['exec', 'KUBECONFIG_UNSUPPORTED', 'kubeconfig user "exec": users.user.exec'],
    ['lost', 'KUBECONFIG_INVALID', 'cluster "nope" does not exist'],
    ['absent', 'KUBECONFIG_INVALID', 'context "absent" does not exist'],
  ])('refuses context %s', async (context, code, message) => {
    const path = write('config', config);
    await expect(loadKubeconfig(path, context)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(message),
    });
  });

  it('says what is wrong with the file', async () => {
    await expect(loadKubeconfig(join(dir, 'none'))).rejects.toMatchObject({ code: 'KUBECONFIG_UNREADABLE' });
    await expect(loadKubeconfig(write('bad', 'a: [1'))).rejects.toMatchObject({ code: 'KUBECONFIG_INVALID' });
    await expect(loadKubeconfig(write('empty', ''))).rejects.toThrow('has no current-context');
  });
});
