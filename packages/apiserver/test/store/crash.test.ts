import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bundleServer, ChildServer } from '../support/child.ts';
import { configMap, type Parsed, send } from '../support/server.ts';

const MAPS = '/api/v1/namespaces/default/configmaps';
const SERVICES = '/api/v1/namespaces/default/services';

let directory: string;
let bundle: string;
beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weft-crash-'));
  bundle = await bundleServer(directory);
}, 30_000);
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const service = (name: string): object => ({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name },
  spec: { selector: { app: name }, ports: [{ port: 80 }] },
});

describe('kill -9 under load', () => {
  it.each(['fsync', 'none'] as const)(
    'loses no acknowledged write (durability %s)',
    async (durability) => {
      const home = mkdtempSync(join(directory, durability));
      const acknowledged = new Map<string, string>();
      const deleted = new Set<string>();
      let last = 0;
      for (let round = 0; round < 3; round++) {
        const server = await ChildServer.start({ bundle, directory: home, durability });
        let running = true;
        const client = async (id: number): Promise<void> => {
          for (let i = 0; running; i++) {
            const name = `r${round}-c${id}-${i}`;
            try {
              const made = await send(server.socket, 'POST', MAPS, configMap(name, { v: '1' }));
              if (made.code !== 201) continue;
              acknowledged.set(name, '1');
              const changed = await send(server.socket, 'PUT', `${MAPS}/${name}`, configMap(name, { v: '2' }));
              if (changed.code === 200) acknowledged.set(name, '2');
              if (i % 3 !== 0) continue;
              // From the moment it is asked for until it is answered, both outcomes are right.
              acknowledged.delete(name);
              const gone = await send(server.socket, 'DELETE', `${MAPS}/${name}`);
              if (gone.code === 200) deleted.add(name);
            } catch {
              return;
            }
          }
        };
        const services = async (): Promise<void> => {
          for (let i = 0; running; i++) {
            try {
              await send(server.socket, 'POST', SERVICES, service(`s${round}-${i}`));
            } catch {
              return;
            }
          }
        };
        const clients = [0, 1, 2, 3].map(client).concat(services());
        const enough = acknowledged.size + 60;
        while (acknowledged.size < enough) await new Promise((resolve) => setTimeout(resolve, 5));
        await server.kill();
        running = false;
        await Promise.all(clients);

        const again = await ChildServer.start({ bundle, directory: home, durability });
        const { body } = await send(again.socket, 'GET', MAPS);
        const found = new Map<string, string>(body.items.map((o: Parsed) => [o.metadata.name, o.data.v]));
        for (const [name, value] of acknowledged) {
          // An update that was not acknowledged may have been made.
          expect([value, '2'], name).toContain(found.get(name));
        }
        for (const name of deleted) expect(found.has(name), name).toBe(false);
        expect(Number(body.metadata.resourceVersion)).toBeGreaterThan(last);
        last = Number(body.metadata.resourceVersion);

        const made = await send(again.socket, 'POST', SERVICES, service(`after-${round}`));
        expect(made.code).toBe(201);
        const list = await send(again.socket, 'GET', SERVICES);
        const ips: string[] = list.body.items.map((s: Parsed) => s.spec.clusterIP);
        expect(new Set(ips).size).toBe(ips.length);
        await again.kill();
      }
    },
    60_000,
  );
});
