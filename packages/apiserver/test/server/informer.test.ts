import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Backoff, type ConfigMap, Informer, KubeClient, resources } from '@weft/kube';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { configMap, type Parsed, TestServer } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

let server: TestServer;
const cleanups: (() => unknown)[] = [];
beforeEach(async () => {
  server = await new TestServer().start();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await server.stop();
});

describe("Weft's own client", () => {
  it('follows a collection through a restart of the server, and hears of every change once', async () => {
    await server.post(MAPS, configMap('a', { v: '1' }, { follow: 'x' }));
    const client = new KubeClient({ transport: { kind: 'unix', path: server.socket } });
    const informer = new Informer<ConfigMap>({
      client,
      type: resources.configmaps,
      namespace: 'default',
      labelSelector: 'follow',
      backoff: new Backoff(1, 5),
    });
    const seen: string[] = [];
    let wake = (): void => {};
    const note = (text: string): void => {
      seen.push(text);
      wake();
    };
    informer.on({
      add: (o) => note(`+${o.metadata.name}`),
      update: (_, o) => note(`~${o.metadata.name}=${o.data?.v}`),
      delete: (o) => note(`-${o.metadata.name}`),
    });
    const controller = new AbortController();
    informer.start(controller.signal);
    cleanups.push(async () => {
      controller.abort();
      await informer.stopped();
      client.close();
    });
    await informer.synced;
    await server.patch(`${MAPS}/a`, { data: { v: '2' } });
    await server.restart();
    await server.post(MAPS, configMap('b', { v: '1' }, { follow: 'x' }));
    await server.delete(`${MAPS}/a`);
    while (!seen.includes('-a')) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    expect(seen).toEqual(['+a', '~a=2', '+b', '-a']);
    // It resumed where it was: an orderly restart loses no version.
    expect(informer.stats.lists).toBe(1);
  });
});

describe('the second Unix socket', () => {
  it('speaks TLS and wants a credential', async () => {
    const home = mkdtempSync(join(tmpdir(), 'weft-tls-'));
    cleanups.push(() => rmSync(home, { recursive: true, force: true }));
    const path = join(home, 'pods.sock');
    await server.stop();
    server = await new TestServer({ unixTlsPath: path }).start();
    const get = (headers: Record<string, string>): Promise<{ code: number; body: Parsed }> =>
      new Promise((resolve, reject) => {
        const req = request(
          {
            socketPath: path,
            agent: false,
            servername: 'kubernetes.default.svc',
            path: '/api/v1/namespaces',
            ca: server.server.caPem,
            headers,
          },
          (res) => {
            let text = '';
            res.on('data', (chunk: Buffer) => {
              text += chunk.toString();
            });
            res.on('end', () => resolve({ code: res.statusCode ?? 0, body: JSON.parse(text) as Parsed }));
          },
        );
        req.on('error', reject);
        req.end();
      });
    expect((await get({})).code).toBe(401);
    const token = await server.post('/api/v1/namespaces/default/serviceaccounts/default/token', { spec: {} });
    const { code, body } = await get({ Authorization: `Bearer ${token.body.status.token}` });
    expect([code, body.kind]).toEqual([200, 'NamespaceList']);
  });
});
