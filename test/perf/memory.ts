// Memory of a real node's process in a cluster with many Services. Needs root.
//   node perf.mjs memory [--services 10000] [-o json]
import { type EndpointSlice, isStatus, resources, type Service } from '@weft/kube';
import { type Memory, PerfCluster, Workspace } from './lib/lab.ts';
import { numberOf, print } from './lib/report.ts';

const ENDPOINTS = 5;
const AT_ONCE = 16;

function service(i: number): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: `s${i}`, namespace: 'default' },
    spec: { ports: [{ port: 80 }] },
  };
}

function slice(i: number): EndpointSlice {
  const address = (n: number): string => `10.77.${((i * ENDPOINTS + n) >> 8) & 255}.${(i * ENDPOINTS + n) & 255}`;
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: `s${i}-x`, namespace: 'default', labels: { 'kubernetes.io/service-name': `s${i}` } },
    addressType: 'IPv4',
    ports: [{ name: '', port: 8080, protocol: 'TCP' }],
    endpoints: Array.from({ length: ENDPOINTS }, (_, n) => ({ addresses: [address(n)], conditions: { ready: true } })),
  };
}

async function settledMemory(cluster: PerfCluster): Promise<Memory> {
  let last = cluster.memory();
  // Work is over when memory stands still; the collector then has had its chance.
  for (let still = 0; still < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 1000));
    const now = cluster.memory();
    still = Math.abs(now.pssMb - last.pssMb) < 2 ? still + 1 : 0;
    last = now;
  }
  return last;
}

export async function memory(args: readonly string[]): Promise<void> {
  const count = numberOf(args, '--services', 10_000);
  const space = new Workspace();
  const cluster = new PerfCluster(space, 'mem');
  try {
    await cluster.up(['--nodes', '2', '--no-demo']);
    const before = await settledMemory(cluster);
    const { client } = cluster;
    const began = performance.now();
    let next = 0;
    const worker = async (): Promise<void> => {
      for (let i = next++; i < count; i = next++) {
        await client.create(resources.endpointslices, slice(i));
        await client.create(resources.services, service(i)).catch((error: unknown) => {
          if (!isStatus(error, 'AlreadyExists')) throw error;
        });
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, worker));
    const seconds = (performance.now() - began) / 1000;
    const after = await settledMemory(cluster);
    const names = Object.keys(after.weftMb);
    print(
      {
        title: `memory: RSS of each Weft process, MB; ${count} Services × ${ENDPOINTS} endpoints (written in ${seconds.toFixed(1)} s)`,
        header: ['process', 'empty', 'loaded', 'growth'],
        rows: names.map((name) => {
          const [from, to] = [before.weftMb[name] ?? Number.NaN, after.weftMb[name] ?? Number.NaN];
          return [name, from.toFixed(0), to.toFixed(0), (to - from).toFixed(0)];
        }),
        notes: ['`node run` holds a whole node: CNI, fabric, Services, and the kubelet and its container runtime.'],
        data: { count, before, after, writeSeconds: seconds },
      },
      args,
    );
  } finally {
    cluster.down();
    space.remove();
  }
}
