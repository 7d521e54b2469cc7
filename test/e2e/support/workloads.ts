import { readFileSync } from 'node:fs';
import type { Cluster } from './cluster.ts';
import { supportFile } from './environment.ts';
import { until } from './run.ts';

/** The image that every cluster has and that holds Node. */
export const NODE_IMAGE = 'weft.local/weft:local';
const PROGRAMS = 'test-programs';

interface Json {
  readonly [field: string]: unknown;
}

/** The suite's own programs, for pods to mount. */
export function programs(namespace = 'default'): object {
  const data = Object.fromEntries(
    ['dns-load.mjs', 'echo.mjs', 'load.mjs', 'udp-client.mjs'].map((name) => [
      name,
      readFileSync(supportFile(`programs/${name}`), 'utf8'),
    ]),
  );
  return { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: PROGRAMS, namespace }, data };
}

/** A pod's spec that runs one of the programs. */
export function programSpec(program: string, args: readonly string[] = [], more: Json = {}): Json {
  return {
    terminationGracePeriodSeconds: 2,
    containers: [
      {
        name: 'main',
        image: NODE_IMAGE,
        command: ['/usr/local/bin/node', '--max-semi-space-size=1', `/programs/${program}`, ...args],
        volumeMounts: [{ name: 'programs', mountPath: '/programs' }],
        ...(program === 'echo.mjs' ? { readinessProbe: { httpGet: { path: '/', port: 8080 }, periodSeconds: 1 } } : {}),
      },
    ],
    volumes: [{ name: 'programs', configMap: { name: PROGRAMS } }],
    ...more,
  };
}

export interface PodOptions {
  readonly namespace?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly node?: string;
}

export function pod(name: string, spec: Json, options: PodOptions = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name,
      namespace: options.namespace ?? 'default',
      ...(options.labels === undefined ? {} : { labels: options.labels }),
    },
    spec: { ...spec, ...(options.node === undefined ? {} : { nodeName: options.node }) },
  };
}

/** A busybox that waits for commands. */
export function box(name: string, options: PodOptions & { spec?: Json } = {}): object {
  const { spec, ...rest } = options;
  return pod(
    name,
    {
      terminationGracePeriodSeconds: 0,
      containers: [{ name: 'box', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'] }],
      ...spec,
    },
    rest,
  );
}

export function echoPod(name: string, options: PodOptions & { spec?: Json } = {}): object {
  const { spec, ...rest } = options;
  return pod(name, programSpec('echo.mjs', [], spec), { labels: { app: 'echo' }, ...rest });
}

/** The echo program on every node. */
export function echoDaemonSet(name = 'echo'): object {
  return {
    apiVersion: 'apps/v1',
    kind: 'DaemonSet',
    metadata: { name, namespace: 'default' },
    spec: {
      selector: { matchLabels: { app: name } },
      template: { metadata: { labels: { app: name } }, spec: programSpec('echo.mjs') },
    },
  };
}

export function service(name: string, spec: Json, namespace = 'default'): object {
  return { apiVersion: 'v1', kind: 'Service', metadata: { name, namespace }, spec };
}

/** The three ports of the echo program. */
export const ECHO_PORTS = [
  { name: 'http', port: 80, targetPort: 8080 },
  { name: 'udp', port: 81, targetPort: 8081, protocol: 'UDP' },
  { name: 'tcp', port: 82, targetPort: 8082 },
];

export interface PodInfo {
  readonly metadata: {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly deletionTimestamp?: string;
  };
  readonly spec: { readonly nodeName?: string; readonly hostNetwork?: boolean };
  readonly status: {
    readonly phase: string;
    readonly podIP?: string;
    readonly hostIP?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly ready: boolean;
      readonly restartCount: number;
      readonly state: Readonly<Record<string, { readonly reason?: string; readonly exitCode?: number } | undefined>>;
    }[];
  };
}

export async function pods(cluster: Cluster, selector?: string, namespace = 'default'): Promise<PodInfo[]> {
  const args = ['get', 'pods', '-n', namespace, ...(selector === undefined ? [] : ['-l', selector])];
  return (await cluster.json<{ items: PodInfo[] }>(args)).items;
}

export function isReady(info: PodInfo): boolean {
  return info.status.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

export type ReadyPods = (PodInfo & { readonly ip: string; readonly node: string })[];

/** Waits for pods to be Ready; resolves to them, ordered by node. */
export async function readyPods(
  cluster: Cluster,
  selector: string,
  count: number,
  namespace = 'default',
): Promise<ReadyPods> {
  return until(
    `${count} Ready pods of ${selector}`,
    async () => {
      const found = (await pods(cluster, selector, namespace)).filter(
        (p) => p.metadata.deletionTimestamp === undefined,
      );
      if (found.length !== count || !found.every(isReady)) {
        throw new Error(
          found
            .map(
              (p) =>
                `${p.metadata.name} ${p.status.phase} ${JSON.stringify(p.status.containerStatuses?.map((c) => c.state))}`,
            )
            .join('; '),
        );
      }
      return found
        .map((p) => ({ ...p, ip: p.status.podIP ?? '', node: p.spec.nodeName ?? '' }))
        .sort((a, b) => a.node.localeCompare(b.node));
    },
    { timeoutMs: 60_000 },
  );
}

export async function waitReady(cluster: Cluster, ...names: string[]): Promise<void> {
  await cluster.kubectl(['wait', '--for=condition=Ready', '--timeout=60s', ...names.map((n) => `pod/${n}`)], {
    timeoutMs: 65_000,
  });
}

/** Where each part of the echo program's answer comes from. */
export interface Echo {
  readonly pod: string;
  readonly remote: string;
  readonly local?: string;
}

/** HTTP from inside a pod that has wget. */
export async function httpFrom(cluster: Cluster, from: string, url: string, namespace = 'default'): Promise<Echo> {
  const ran = await cluster.kubectl(['exec', '-n', namespace, from, '--', 'timeout', '5', 'wget', '-qO-', url], {
    timeoutMs: 15_000,
  });
  return JSON.parse(ran.stdout) as Echo;
}

const ASK_UDP = `
const s = require('dgram').createSocket('udp4');
s.on('message', (m) => { console.log(m.toString()); process.exit(0); });
s.on('error', (e) => { console.log(e.code); process.exit(3); });
s.connect(Number(process.argv[2]), process.argv[1], () => { const ask = () => s.send('hi'); ask(); setInterval(ask, 300); });
setTimeout(() => { console.log('no answer'); process.exit(4); }, 5000);`;

/** One question over UDP from inside a pod of the Node image. */
export async function udpFrom(cluster: Cluster, from: string, address: string, port: number): Promise<Echo> {
  const ran = await cluster.kubectl(['exec', from, '--', '/usr/local/bin/node', '-e', ASK_UDP, address, String(port)]);
  return JSON.parse(ran.stdout) as Echo;
}

/** The pods that all tests of one network use: an echo server and a busybox on each of three nodes. */
export async function populate(cluster: Cluster): Promise<{ echo: ReadyPods; boxes: ReadyPods }> {
  await cluster.apply([
    programs(),
    echoDaemonSet(),
    ...['n1', 'n2', 'n3'].map((node) => box(`box-${node}`, { node, labels: { app: 'box' } })),
    service('echo', { selector: { app: 'echo' }, ports: ECHO_PORTS }),
  ]);
  const [echo, boxes] = await Promise.all([readyPods(cluster, 'app=echo', 3), readyPods(cluster, 'app=box', 3)]);
  return { echo, boxes };
}
