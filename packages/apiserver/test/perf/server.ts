/**
 * Figures of the API server, printed as a table: `node` a bundle of this file with `--expose-gc`, as
 * packages/apiserver/README.md says. Not a test: nothing here can fail.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Metrics, silentLogger } from '@weft/plan';
import { startApiServer } from '../../src/index.ts';
import { Store } from '../../src/store/store.ts';
import type { AnyObject } from '../../src/store/stored.ts';

const directory = mkdtempSync(join(tmpdir(), 'weft-perf-'));
const rows: [what: string, figure: string][] = [];
const row = (what: string, figure: string): void => {
  rows.push([what, figure]);
};
const ms = (from: number): number => performance.now() - from;

const pod = (i: number): AnyObject => ({
  apiVersion: 'v1',
  kind: 'Pod',
  metadata: { name: `p${i}`, namespace: 'default', labels: { app: `a${i % 100}` } },
  spec: { nodeName: `n${i % 50}`, containers: [{ name: 'c', image: 'nginx', env: pairs(20) }] },
});

function pairs(count: number): { name: string; value: string }[] {
  return Array.from({ length: count }, (_, i) => ({ name: `VARIABLE_${i}`, value: `value of the variable ${i}` }));
}

async function storeFigures(): Promise<void> {
  for (const durability of ['none', 'fsync'] as const) {
    const store = new Store({ directory: join(directory, durability), durability, log: silentLogger });
    const from = performance.now();
    const count = 20_000;
    let waiting: Promise<void>[] = [];
    for (let i = 0; i < count; i++) {
      waiting.push(store.commit([{ collection: '/pods', key: `default/p${i}`, object: pod(i) }]).durable);
      if (waiting.length === 100) await Promise.all(waiting.splice(0));
    }
    await Promise.all(waiting);
    waiting = [];
    row(
      `store: writes per second, 1.2 kB objects, 100 at a time, ${durability}`,
      (count / (ms(from) / 1000)).toFixed(0),
    );
    await store.close();
    const reload = performance.now();
    const again = new Store({ directory: join(directory, durability), durability, log: silentLogger });
    row(`store: load ${count} objects, ${durability}`, `${ms(reload).toFixed(0)} ms`);
    await again.close();
  }
}

const agent = new Agent({ keepAlive: true, maxSockets: 32 });

function call(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
): Promise<{ code: number; bytes: number }> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const headers =
      payload === undefined ? {} : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(payload) };
    const req = request({ socketPath, agent, method, path, headers }, (res) => {
      let bytes = 0;
      res.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
      });
      res.on('end', () => resolve({ code: res.statusCode ?? 0, bytes }));
    });
    req.on('error', reject);
    req.end(payload);
  });
}

async function serverFigures(): Promise<void> {
  const options = {
    dataDir: join(directory, 'server'),
    listen: { host: '127.0.0.1', port: 0 },
    unixPath: join(directory, 'api.sock'),
    serviceCidrs: ['10.96.0.0/16'],
    nodePortRange: [30000, 32767] as const,
    clusterDomain: 'cluster.local',
    durability: 'fsync' as const,
    log: silentLogger,
    metrics: new Metrics(),
  };
  let from = performance.now();
  let server = await startApiServer(options);
  row('server: start with fresh certificates', `${ms(from).toFixed(0)} ms`);
  await server.close();
  from = performance.now();
  server = await startApiServer(options);
  row('server: start again', `${ms(from).toFixed(0)} ms`);
  const path = '/api/v1/namespaces/default/pods';
  const count = 10_000;
  from = performance.now();
  let next = 0;
  const client = async (): Promise<void> => {
    while (next < count) await call(options.unixPath, 'POST', path, pod(next++));
  };
  await Promise.all(Array.from({ length: 16 }, client));
  row(
    'server: pods created per second over HTTP, 16 clients, fsync (client in the same process)',
    (count / (ms(from) / 1000)).toFixed(0),
  );
  for (let i = 0; i < 2; i++) {
    from = performance.now();
    const { bytes } = await call(options.unixPath, 'GET', path);
    if (i === 1) row(`server: list of ${count} pods`, `${ms(from).toFixed(0)} ms, ${(bytes / 1e6).toFixed(1)} MB`);
  }
  const latencies: number[] = [];
  const waiting = new Map<string, number>();
  const watching = new Promise<() => void>((resolve) => {
    const req = request(
      { socketPath: options.unixPath, path: `${path}?watch=true&resourceVersion=0&labelSelector=probe` },
      (res) => {
        res.on('data', (chunk: Buffer) => {
          const name = /"name":"(probe-\d+)"/.exec(chunk.toString())?.[1] ?? '';
          latencies.push(ms(waiting.get(name) ?? Number.NaN));
        });
        resolve(() => req.destroy());
      },
    );
    req.end();
  });
  const stop = await watching;
  for (let i = 0; i < 300; i++) {
    const object = pod(0);
    object.metadata = { name: `probe-${i}`, namespace: 'default', labels: { probe: 'x' } };
    waiting.set(`probe-${i}`, performance.now());
    await call(options.unixPath, 'POST', path, object);
  }
  latencies.sort((a, b) => a - b);
  row(
    'server: request sent to event received, p50 / p95',
    `${latencies[150]?.toFixed(2)} / ${latencies[285]?.toFixed(2)} ms`,
  );
  stop();
  globalThis.gc?.();
  row(
    `server: memory with ${count} pods of 2 kB (client in the same process)`,
    `${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`,
  );
  await server.close();
  agent.destroy();
}

await storeFigures();
await serverFigures();
rmSync(directory, { recursive: true, force: true });
for (const [what, figure] of rows) process.stdout.write(`${what.padEnd(90)} ${figure}\n`);
