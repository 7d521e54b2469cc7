// How long until a cluster works, and what it costs. Needs root.
//   node perf.mjs up [--rounds 5] [--nodes 50] [--pods 500] [--small-only] [-o json]
import { spawnSync } from 'node:child_process';
import dgram from 'node:dgram';
import http from 'node:http';
import path from 'node:path';
import { type Deployment, resources } from '@weft/kube';
import { type Memory, PerfCluster, Workspace } from './lib/lab.ts';
import { numberOf, print } from './lib/report.ts';
import { figure, median } from './lib/stats.ts';

/** Published seconds until an application and DNS answer (minikube's timeToK8s benchmark, v1.36). */
const PUBLISHED = [
  ['k3d', 19.9],
  ['kind', 33],
  ['minikube', 50.8],
] as const;

function question(name: string): Buffer {
  const labels = name.split('.').flatMap((label) => [Buffer.from([label.length]), Buffer.from(label)]);
  const header = Buffer.from([0x77, 0x65, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
  return Buffer.concat([header, ...labels, Buffer.from([0, 0, 1, 0, 1])]);
}

/** Asks cluster DNS again and again until it has an address for the name. */
function resolveName(server: string, name: string, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = dgram.createSocket('udp4');
    const ask = (): void => socket.send(question(name), 53, server, () => {});
    const timer = setInterval(ask, 5);
    const giveUp = (): void => {
      end();
      reject(new Error('no DNS answer'));
    };
    const end = (): void => {
      clearInterval(timer);
      signal.removeEventListener('abort', giveUp);
      socket.close();
    };
    signal.addEventListener('abort', giveUp);
    socket.on('error', () => {});
    socket.on('message', (answer) => {
      if (answer.readUInt16BE(6) === 0) return;
      end();
      resolve([...answer.subarray(answer.length - 4)].join('.'));
    });
    ask();
  });
}

function page(address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const request = http.get({ host: address, port: 80, agent: false, timeout: 300 }, (response) => {
      response.resume();
      response.on('end', () => resolve(response.statusCode === 200));
    });
    request.on('timeout', () => request.destroy());
    request.on('error', () => resolve(false));
  });
}

interface Round {
  /** Seconds from the start of the command, as somebody outside sees it. */
  readonly dns: number;
  readonly http: number;
  readonly command: number;
  readonly down: number;
  readonly phases: readonly { readonly phase: string; readonly ms: number }[];
  readonly memory: Memory;
}

async function round(space: Workspace): Promise<Round> {
  const cluster = new PerfCluster(space, 'up');
  const stop = new AbortController();
  const began = performance.now();
  const since = (from = began): number => (performance.now() - from) / 1000;
  const up = cluster.up(['--nodes', '3']);
  const seen = (async () => {
    const dnsIp = cluster.blocks.service.replace(/0\/\d+$/, '10');
    const address = await resolveName(dnsIp, 'web.default.svc.cluster.local', stop.signal);
    const dns = since();
    while (!(await page(address)) && !stop.signal.aborted) await new Promise((resolve) => setTimeout(resolve, 5));
    return { dns, http: since() };
  })();
  seen.catch(() => {});
  try {
    const report = await up;
    const command = since();
    const answers = await seen;
    const memory = cluster.memory();
    const ending = performance.now();
    cluster.down();
    return { ...answers, command, down: since(ending), phases: report.phases, memory };
  } finally {
    stop.abort();
    cluster.down();
  }
}

interface Large {
  readonly nodes: number;
  readonly pods: number;
  readonly upSeconds: number;
  readonly podsSeconds: number;
  readonly empty: Memory;
  readonly full: Memory;
}

async function large(space: Workspace, nodes: number, pods: number): Promise<Large> {
  const cluster = new PerfCluster(space, 'large');
  try {
    let began = performance.now();
    await cluster.up(['--nodes', String(nodes), '--no-demo']);
    const upSeconds = (performance.now() - began) / 1000;
    const empty = cluster.memory();
    const labels = { app: 'many' };
    const deployment: Deployment = {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'many', namespace: 'default' },
      spec: {
        replicas: pods,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            terminationGracePeriodSeconds: 0,
            containers: [{ name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'] }],
          },
        },
      },
    };
    began = performance.now();
    await cluster.client.create(resources.deployments, deployment);
    await cluster.readyPods(pods);
    return { nodes, pods, upSeconds, podsSeconds: (performance.now() - began) / 1000, empty, full: cluster.memory() };
  } finally {
    cluster.down();
  }
}

/** Seconds to start Node with Weft's own bundle and end again: no cluster is faster than its slowest process. */
function floor(): number {
  const bundle = path.join(path.dirname(process.argv[1] ?? ''), 'weft.mjs');
  return median(
    Array.from({ length: 5 }, () => {
      const began = performance.now();
      spawnSync(process.execPath, [bundle, 'version']);
      return (performance.now() - began) / 1000;
    }),
  );
}

/** Entry point: `args` are the words after `up`. */
export async function up(args: readonly string[]): Promise<void> {
  const space = new Workspace();
  try {
    // Makes the images and remembers the kernel: from then on the machine is warm.
    await round(space);
    const rounds: Round[] = [];
    for (let i = 0; i < numberOf(args, '--rounds', 5); i++) rounds.push(await round(space));
    const bare = floor();
    const nodes = numberOf(args, '--nodes', 50);
    const pods = numberOf(args, '--pods', nodes * 10);
    const many = args.includes('--small-only') ? undefined : await large(space, nodes, pods);
    const reply = median(rounds.map((r) => r.http));
    const row = (what: string, all: readonly number[]): string[] => {
      const middle = median(all);
      const range = all.length > 1 ? `${figure(Math.min(...all))}–${figure(Math.max(...all))}` : '';
      return [what, figure(middle), range, `${figure(middle / reply)} ×`];
    };
    const middle = median(rounds.map((r) => r.memory.pssMb));
    const typical = rounds.find((r) => r.memory.pssMb === middle)?.memory;
    const rss = Object.entries(typical?.weftMb ?? {}).map(([what, size]) => `${what} ${size.toFixed(0)}`);
    print(
      {
        title: `up: seconds, median of ${rounds.length}`,
        header: ['', 'seconds', 'range', 'of HTTP'],
        rows: [
          row(
            'weft up, 3 nodes: first DNS answer',
            rounds.map((r) => r.dns),
          ),
          row(
            'weft up, 3 nodes: first HTTP reply of the demo by its name',
            rounds.map((r) => r.http),
          ),
          row(
            'weft up, 3 nodes: the command ends',
            rounds.map((r) => r.command),
          ),
          row(
            'weft down',
            rounds.map((r) => r.down),
          ),
          row('floor: Node starts with the bundle and ends', [bare]),
          ...PUBLISHED.map(([name, seconds]) => row(`published: ${name}, one node`, [seconds])),
          ...(many === undefined
            ? []
            : [
                row(`weft up, ${many.nodes} nodes`, [many.upSeconds]),
                row(`${many.pods} pods on them, created to Ready`, [many.podsSeconds]),
              ]),
        ],
        notes: [
          `memory, 3 nodes with demo: ${middle.toFixed(0)} MB (PSS of all ${typical?.processes} processes); RSS: ${rss.join(', ')}`,
          ...(many === undefined
            ? []
            : [
                `memory, ${many.nodes} nodes: ${many.empty.pssMb.toFixed(0)} MB without pods, ${many.full.pssMb.toFixed(0)} MB with ${many.pods} (PSS of all ${many.full.processes} processes)`,
              ]),
        ],
        data: { rounds, floorSeconds: bare, large: many },
      },
      args,
    );
  } finally {
    space.remove();
  }
}
