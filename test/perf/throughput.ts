// Pod to pod by the real network of a cluster, against a bare veth pair in the same run. Needs root, iperf3 and ping.
//   node perf.mjs throughput [--rounds 3] [--seconds 3] [-o json]
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { NetNs, Rtnl } from '@weft/kernel';
import { type Pod, resources } from '@weft/kube';
import { PerfCluster, Workspace } from './lib/lab.ts';
import { numberOf, print } from './lib/report.ts';
import { figure, median } from './lib/stats.ts';

/** Two ends of a path, by files of network namespaces. */
interface Path {
  readonly name: string;
  readonly client: string;
  readonly server: string;
  readonly address: string;
}

interface Sample {
  readonly oneGbit: number;
  readonly eightGbit: number;
  readonly roundTripUs: number;
}

const PORT = '5201';
const inside = (netns: string, argv: readonly string[]): [string, string[]] => ['nsenter', [`--net=${netns}`, ...argv]];

async function iperf(on: Path, streams: number, seconds: number): Promise<number> {
  const server = spawn(...inside(on.server, ['iperf3', '-s', '-1', '-p', PORT, '--forceflush']), {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const ended = new Promise((resolve) => server.on('close', resolve));
  try {
    await new Promise<void>((resolve, reject) => {
      let text = '';
      server.stdout.on('data', (chunk: Buffer) => {
        text += chunk.toString();
        if (text.includes('listening')) resolve();
      });
      server.on('error', reject);
      server.on('close', () => reject(new Error(`iperf3 on ${on.name}: ${text}`)));
    });
    const args = [
      'iperf3',
      '-c',
      on.address,
      '-p',
      PORT,
      '-t',
      String(seconds),
      '-O',
      '1',
      '-P',
      String(streams),
      '-J',
    ];
    const client = spawn(...inside(on.client, args), { stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    client.stdout.on('data', (chunk: Buffer) => {
      out += chunk.toString();
    });
    await new Promise((resolve) => client.on('close', resolve));
    const { end, error } = JSON.parse(out) as { end: { sum_received?: { bits_per_second: number } }; error?: string };
    if (end.sum_received === undefined) throw new Error(`iperf3 on ${on.name}: ${error}`);
    return end.sum_received.bits_per_second / 1e9;
  } finally {
    server.kill();
    await ended;
  }
}

const ECHOES = 20_000;

/** Average round trip of small packets, one after the other, in microseconds; the work of ping itself is in it. */
function roundTrip(on: Path): number {
  const ran = spawnSync(...inside(on.client, ['ping', '-f', '-q', '-c', String(ECHOES), on.address]), {
    encoding: 'utf8',
  });
  const match = new RegExp(`${ECHOES} received, 0% packet loss, time (\\d+)ms`).exec(ran.stdout);
  if (match === null) throw new Error(`ping on ${on.name}: ${ran.stdout}${ran.stderr}`);
  return (Number(match[1]) * 1000) / ECHOES;
}

async function sample(on: Path, seconds: number): Promise<Sample> {
  const oneGbit = await iperf(on, 1, seconds);
  return { oneGbit, eightGbit: await iperf(on, 8, seconds), roundTripUs: roundTrip(on) };
}

/** Two namespaces with nothing but a veth pair between them. */
async function bareVeth(dir: string): Promise<{ readonly path: Path; readonly close: () => void }> {
  const files = { client: path.join(dir, 'a'), server: path.join(dir, 'b') };
  const [a, b] = [NetNs.create(files.client), NetNs.create(files.server)];
  const [inA, inB] = [Rtnl.open(a), Rtnl.open(b)];
  await inA.links.add({ name: 'v0', kind: 'veth', up: true, peer: { name: 'v1', ns: b } });
  for (const [at, name, address] of [
    [inA, 'v0', '198.18.0.1/24'],
    [inB, 'v1', '198.18.0.2/24'],
  ] as const) {
    await at.links.set(name, { up: true });
    const link = await at.links.get(name);
    if (link !== undefined) await at.addresses.add({ index: link.index, address });
  }
  inA.close();
  inB.close();
  const close = (): void => {
    for (const ns of [a, b]) ns.close();
    for (const file of Object.values(files)) NetNs.remove(file);
  };
  return { path: { name: 'bare veth pair', ...files, address: '198.18.0.2' }, close };
}

function pod(name: string, node: string): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name, namespace: 'default' },
    spec: {
      nodeName: node,
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'] }],
    },
  };
}

async function podPaths(cluster: PerfCluster, backend: string): Promise<Path[]> {
  await cluster.up(['--nodes', '2', '--no-demo', '--backend', backend]);
  for (const [name, node] of [
    ['a', 'n1'],
    ['b', 'n1'],
    ['c', 'n2'],
  ] as const)
    await cluster.client.create(resources.pods, pod(name, node));
  const ready = await cluster.readyPods(3);
  const end = (name: string): { netns: string; address: string } => {
    const address = ready.find((p) => p.metadata.name === name)?.status?.podIP ?? '';
    return { netns: `/proc/${cluster.pidWithAddress(address)}/ns/net`, address };
  };
  const [a, b, c] = [end('a'), end('b'), end('c')];
  return [
    { name: `${backend}: pods of one node`, client: a.netns, server: b.netns, address: b.address },
    { name: `${backend}: across nodes`, client: a.netns, server: c.netns, address: c.address },
  ];
}

/** Entry point: `args` are the words after `throughput`. */
export async function throughput(args: readonly string[]): Promise<void> {
  const [rounds, seconds] = [numberOf(args, '--rounds', 3), numberOf(args, '--seconds', 3)];
  const space = new Workspace();
  const dir = mkdtempSync(path.join(tmpdir(), 'wp-veth-'));
  const bare = await bareVeth(dir);
  const samples = new Map<string, Sample[]>();
  try {
    for (const backend of ['vxlan', 'host-gw']) {
      const cluster = new PerfCluster(space, backend === 'vxlan' ? 'vx' : 'gw');
      try {
        const paths = [bare.path, ...(await podPaths(cluster, backend))];
        // Turn by turn, so that whatever else the machine does hits all alike.
        for (let i = 0; i < rounds; i++)
          for (const on of paths) samples.set(on.name, [...(samples.get(on.name) ?? []), await sample(on, seconds)]);
      } finally {
        cluster.down();
      }
    }
    const of = (name: string): Sample => {
      const all = samples.get(name) ?? [];
      return {
        oneGbit: median(all.map((s) => s.oneGbit)),
        eightGbit: median(all.map((s) => s.eightGbit)),
        roundTripUs: median(all.map((s) => s.roundTripUs)),
      };
    };
    const raw = of(bare.path.name);
    const share = (value: number, whole: number): string => `${((100 * value) / whole).toFixed(0)} %`;
    print(
      {
        title: `throughput: median of ${rounds} turns of ${seconds} s`,
        header: [
          'path',
          '1 TCP stream, Gbit/s',
          'of veth',
          '8 streams, Gbit/s',
          'of veth',
          'round trip, µs',
          'of veth',
        ],
        rows: [...samples.keys()].map((name) => {
          const s = of(name);
          return [
            name,
            figure(s.oneGbit),
            share(s.oneGbit, raw.oneGbit),
            figure(s.eightGbit),
            share(s.eightGbit, raw.eightGbit),
            figure(s.roundTripUs),
            share(s.roundTripUs, raw.roundTripUs),
          ];
        }),
        notes: [
          'round trip: ICMP echo, each sent when the one before is answered (ping -f), the work of ping included',
        ],
        data: Object.fromEntries(samples),
      },
      args,
    );
  } finally {
    bare.close();
    rmSync(dir, { recursive: true, force: true });
    space.remove();
  }
}
