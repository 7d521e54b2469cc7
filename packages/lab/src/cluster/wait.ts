import { spawn } from 'node:child_process';
import { NetNs, spawnInNetNs } from '@weft/kernel';
import { type Deployment, type KubeClient, type Node, resources, type Service } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { dnsServiceIp } from './addons.ts';
import type { ClusterConfig } from './config.ts';

const POLL_MS = 15;
const LIMIT_MS = 90_000;

async function until<T>(what: string, probe: () => Promise<T | undefined>): Promise<T> {
  const deadline = Date.now() + LIMIT_MS;
  for (;;) {
    const value = await probe().catch(() => undefined);
    if (value !== undefined) return value;
    if (Date.now() > deadline) {
      throw new WeftError({
        code: 'START_TIMEOUT',
        message: `${what} did not happen within ${LIMIT_MS / 1000} s`,
        hint: 'kubectl get pods,events -A and the logs of the nodes tell why',
      });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function isReady(node: Node): boolean {
  return node.status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') ?? false;
}

/** Resolves when every named node is Ready. */
export function waitForNodes(client: KubeClient, names: readonly string[]): Promise<void> {
  return until('all nodes Ready', async () => {
    const { items } = await client.list<Node>(resources.nodes, undefined);
    const ready = new Set(items.filter(isReady).map((n) => n.metadata.name));
    return names.every((n) => ready.has(n)) ? true : undefined;
  }).then(() => undefined);
}

/** Runs a program inside a namespace; resolves to what it printed, or undefined when it failed. */
function tell(netns: string, file: string, args: string[]): Promise<string | undefined> {
  const ns = NetNs.open(netns);
  let child: ReturnType<typeof spawn>;
  try {
    child = spawnInNetNs(ns, file, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  } finally {
    ns.close();
  }
  return new Promise((resolve) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString('utf8');
    });
    child.on('error', () => resolve(undefined));
    child.on('close', (code) => resolve(code === 0 ? text : undefined));
  });
}

async function deploymentReady(client: KubeClient, namespace: string, name: string): Promise<number | undefined> {
  const deployment = await client.get<Deployment>(resources.deployments, namespace, name);
  const wanted = deployment.spec?.replicas ?? 1;
  return (deployment.status?.readyReplicas ?? 0) >= wanted ? wanted : undefined;
}

/** Resolves when cluster DNS answers through its Service. */
export async function waitForDns(client: KubeClient, config: ClusterConfig, netns: string): Promise<string> {
  const server = dnsServiceIp(config);
  await until('cluster DNS ready', () => deploymentReady(client, 'kube-system', 'coredns'));
  const began = performance.now();
  await until('a DNS answer', () =>
    tell(netns, 'busybox', [
      'timeout',
      '1',
      'busybox',
      'nslookup',
      `kubernetes.default.svc.${config.clusterDomain}`,
      server,
    ]),
  );
  return `${server} answers (${(performance.now() - began).toFixed(0)} ms)`;
}

/** Resolves when the demo's Service answers over HTTP at the address that DNS gives for it. */
export async function waitForDemo(client: KubeClient, config: ClusterConfig, netns: string): Promise<string> {
  const pods = await until('the demo ready', () => deploymentReady(client, 'default', 'web'));
  const service = await client.get<Service>(resources.services, 'default', 'web');
  const address = service.spec?.clusterIP ?? '';
  await until('an HTTP reply of the demo', async () => {
    const name = await tell(netns, 'busybox', [
      'timeout',
      '1',
      'busybox',
      'nslookup',
      `web.default.svc.${config.clusterDomain}`,
      dnsServiceIp(config),
    ]);
    if (name === undefined || !name.includes(address)) return undefined;
    return tell(netns, 'busybox', ['timeout', '1', 'busybox', 'wget', '-qO-', `http://${address}/`]);
  });
  return `web: ${pods} pods, http://${address}/ answers`;
}
