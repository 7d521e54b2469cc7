// Memory and latency of an informer over many EndpointSlices, against a real HTTP server in another process.
//
//   npx esbuild packages/kube/test/perf/informer.ts --bundle --platform=node --format=esm --outfile=/tmp/kube-perf.mjs
//   node --expose-gc /tmp/kube-perf.mjs [SLICES] [full]
import { fork } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type EndpointSlice, Informer, KubeClient, type KubeObject, resources } from '../../src/index.ts';

const ENDPOINTS = 5;
const UPDATES = 2000;

function slice(i: number, version: number): EndpointSlice {
  const service = `service-${i}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: {
      name: `${service}-abcde`,
      generateName: `${service}-`,
      namespace: `namespace-${i % 50}`,
      uid: `00000000-0000-4000-8000-${String(i).padStart(12, '0')}`,
      resourceVersion: String(version),
      generation: 3,
      creationTimestamp: '2024-01-01T00:00:00Z',
      labels: {
        'endpointslice.kubernetes.io/managed-by': 'endpointslice-controller.k8s.io',
        'kubernetes.io/service-name': service,
      },
      annotations: { 'endpoints.kubernetes.io/last-change-trigger-time': new Date().toISOString() },
      ownerReferences: [{ apiVersion: 'v1', kind: 'Service', name: service, uid: `u-${i}`, controller: true }],
      managedFields: [
        {
          manager: 'kube-controller-manager',
          operation: 'Update',
          apiVersion: 'discovery.k8s.io/v1',
          fieldsType: 'FieldsV1',
          fieldsV1: { 'f:addressType': {}, 'f:endpoints': {}, 'f:metadata': { 'f:labels': {} }, 'f:ports': {} },
        },
      ],
    },
    addressType: 'IPv4',
    endpoints: Array.from({ length: ENDPOINTS }, (_, k) => ({
      addresses: [`10.${(i >> 8) & 255}.${i & 255}.${k + 1}`],
      conditions: { ready: true, serving: true, terminating: false },
      nodeName: `node-${(i + k) % 100}`,
      zone: `zone-${k % 3}`,
      targetRef: { kind: 'Pod', namespace: `namespace-${i % 50}`, name: `${service}-${k}`, uid: `p-${i}-${k}` },
    })),
    ports: [{ name: 'http', port: 8080, protocol: 'TCP' }],
  };
}

function serve(path: string, count: number): void {
  createServer((_, res) => {
    res.writeHead(200, { 'content-type': 'application/json' });
    void (async () => {
      for (let i = 0; i < count; i++) {
        const more = res.write(`${JSON.stringify({ type: 'ADDED', object: slice(i, i + 1) })}\n`);
        if (!more) await new Promise((resolve) => res.once('drain', resolve));
      }
      const metadata = { resourceVersion: String(count), annotations: { 'k8s.io/initial-events-end': 'true' } };
      res.write(`${JSON.stringify({ type: 'BOOKMARK', object: { metadata } })}\n`);
      process.on('message', () => {
        const object = slice(0, count + 1 + sent++);
        const line = `${JSON.stringify({ type: 'MODIFIED', object })}\n`;
        // The clock that both processes share.
        process.send?.(process.hrtime.bigint().toString());
        res.write(line);
      });
    })();
  }).listen(path, () => process.send?.('ready'));
  let sent = 0;
}

interface Slim {
  readonly namespace: string;
  readonly service: string;
  readonly addressType: string;
  readonly ports: EndpointSlice['ports'];
  readonly endpoints: readonly {
    readonly address: string;
    readonly node: string | undefined;
    readonly ready: boolean;
  }[];
}

function slim(raw: EndpointSlice): Slim {
  return {
    namespace: raw.metadata.namespace ?? '',
    service: raw.metadata.labels?.['kubernetes.io/service-name'] ?? '',
    addressType: raw.addressType,
    ports: raw.ports,
    endpoints: (raw.endpoints ?? []).map((e) => ({
      address: e.addresses[0] ?? '',
      node: e.nodeName,
      ready: e.conditions?.ready !== false,
    })),
  };
}

const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;

async function measure(count: number, full: boolean): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'weft-perf-'));
  const path = join(dir, 's');
  const server = fork(fileURLToPath(import.meta.url), ['serve', path, String(count)]);
  await new Promise((resolve) => server.once('message', resolve));
  const collect = globalThis.gc ?? ((): void => {});
  collect();
  const before = process.memoryUsage();
  const client = new KubeClient({ transport: { kind: 'unix', path } });
  const controller = new AbortController();
  const informer = new Informer<EndpointSlice, Slim | KubeObject>({
    client,
    type: resources.endpointslices,
    ...(full ? {} : { transform: slim }),
  });
  informer.index('service', (o) => ('service' in o ? `${o.namespace}/${o.service}` : undefined));
  const cpu = process.cpuUsage();
  const started = performance.now();
  informer.start(controller.signal);
  await informer.synced;
  const took = performance.now() - started;
  const used = process.cpuUsage(cpu);
  const rssNow = process.memoryUsage().rss;
  collect();
  const after = process.memoryUsage();
  console.log(
    `${count} slices × ${ENDPOINTS} endpoints, ${full ? 'whole' : 'slim'} objects, node ${process.version}: ` +
      `synced in ${took.toFixed(0)} ms (${((used.user + used.system) / 1000).toFixed(0)} ms CPU)`,
  );
  console.log(
    `  heap ${megabytes(before.heapUsed)} -> ${megabytes(after.heapUsed)} ` +
      `(+${megabytes(after.heapUsed - before.heapUsed)}), ` +
      `RSS ${megabytes(before.rss)} -> ${megabytes(rssNow)} at sync, ${megabytes(after.rss)} after collection`,
  );

  const delays: number[] = [];
  let received: ((at: bigint) => void) | undefined;
  informer.on({ update: () => received?.(process.hrtime.bigint()) });
  for (let i = 0; i < UPDATES; i++) {
    const arrived = new Promise<bigint>((resolve) => {
      received = resolve;
    });
    const sentAt = new Promise<string>((resolve) => server.once('message', (m) => resolve(m as string)));
    server.send('next');
    delays.push(Number((await arrived) - BigInt(await sentAt)) / 1e6);
  }
  delays.sort((a, b) => a - b);
  const at = (share: number): string => (delays[Math.floor(delays.length * share)] ?? 0).toFixed(3);
  console.log(`  write in the server -> handler: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms`);
  controller.abort();
  await informer.stopped();
  client.close();
  server.kill();
  rmSync(dir, { recursive: true, force: true });
}

const [mode, ...rest] = process.argv.slice(2);
if (mode === 'serve') serve(rest[0] ?? '', Number(rest[1]));
else await measure(Number(mode ?? 10_000), rest.includes('full'));
