import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleServer, ChildServer } from '../support/child.ts';
import { type Answer, configMap, send } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';

let directory: string;
let bundle: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-full-'));
  bundle = await bundleServer(directory);
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

describe('a full disk', () => {
  it('refuses writes with a clear error, serves reads, and takes writes again when there is room', async () => {
    const home = mkdtempSync(join(directory, 'home'));
    // A file system of 2 MB, mounted where only the server sees it.
    const mount = 'mkdir -p "$0/data" && mount -t tmpfs -o size=2m none "$0/data" && exec "$@"';
    const server = await ChildServer.start({
      bundle,
      directory: home,
      durability: 'fsync',
      wrapper: ['unshare', '--mount', 'sh', '-c', mount, home],
    });
    try {
      const block = 'x'.repeat(200_000);
      const written: string[] = [];
      let refused: Answer | undefined;
      for (let i = 0; refused === undefined; i++) {
        const answer = await send(server.socket, 'POST', MAPS, configMap(`m${i}`, { block }));
        if (answer.code === 201) written.push(`m${i}`);
        else refused = answer;
      }
      expect(refused.code).toBe(507);
      expect(refused.body).toMatchObject({
        kind: 'Status',
        reason: 'InternalError',
        message: 'Internal error occurred: the store has no space left on its disk: database space exceeded',
      });
      const list = await send(server.socket, 'GET', MAPS);
      expect(list.body.items).toHaveLength(written.length + 1);
      expect((await send(server.socket, 'GET', '/readyz')).code).toBe(200);

      // Room is made from inside the server's mount namespace.
      const { execFileSync } = await import('node:child_process');
      const target = String(server.process.pid);
      execFileSync('nsenter', ['-t', target, '-m', 'mount', '-o', 'remount,size=20m', join(home, 'data')]);
      expect((await send(server.socket, 'POST', MAPS, configMap('after', { block }))).code).toBe(201);
      expect((await send(server.socket, 'GET', `${MAPS}/after`)).code).toBe(200);
    } finally {
      await server.kill();
    }
  });
});
