// Every process of Weft is killed under load, one after the other: what was acknowledged stays, what was connected
// stays connected, and everything comes back by itself.
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isStatus, KubeClient, type KubeObject, resources } from '@weft/kube';
import { useCluster } from './support/cluster.ts';
import { descendants, type ProcessInfo } from './support/host.ts';
import { pause, until } from './support/run.ts';
import {
  box,
  ECHO_PORTS,
  echoDaemonSet,
  isReady,
  pod,
  type PodInfo,
  programs,
  programSpec,
  readyPods,
  service,
  waitReady,
} from './support/workloads.ts';

const cluster = useCluster({ name: 'crash', flags: ['--no-demo'] });

interface Load {
  readonly requests: number;
  readonly failed: number;
  readonly failures: readonly string[];
  readonly lines: number;
  readonly connections: number;
  readonly broken: readonly string[];
  readonly slowestMs: number;
}

/** Writes objects as fast as they are acknowledged, and keeps the list of those that were. */
class Writer {
  readonly acknowledged = new Set<string>();
  readonly #client: KubeClient;
  readonly #done: Promise<void>;
  #stop = false;

  constructor(socket: string) {
    this.#client = new KubeClient({ transport: { kind: 'unix', path: socket }, userAgent: 'crash-test' });
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    for (let i = 0; !this.#stop; i++) {
      const name = `written-${i}`;
      const object: KubeObject = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name, namespace: 'default' } };
      try {
        await this.#client.create(resources.configmaps, object);
        this.acknowledged.add(name);
      } catch (error) {
        // Acknowledged or not is unknown when the connection breaks; a doubled name shows that it was stored.
        if (isStatus(error, 'AlreadyExists')) this.acknowledged.add(name);
        await pause(20);
      }
      await pause(10);
    }
    this.#client.close();
  }

  async stop(): Promise<void> {
    this.#stop = true;
    await this.#done;
  }
}

function clusterProcesses(): ProcessInfo[] {
  const { init } = JSON.parse(readFileSync(path.join(cluster.stateDir, 'pid.json'), 'utf8')) as {
    init: { pid: number };
  };
  return descendants(init.pid);
}

/** The one process whose command line matches, as the host numbers it. */
function processOf(pattern: RegExp): ProcessInfo {
  const matching = clusterProcesses().filter(
    (p) => pattern.test(p.command) && !/^(sh|unshare|runc|conmon|\S*conmon)\b/.test(p.command),
  );
  // A child looks like its parent until it executes its own program.
  const found = matching.filter((p) => !matching.some((other) => other.pid === p.parent));
  const [first] = found;
  if (first === undefined || found.length > 1) {
    const all = clusterProcesses().map((p) => `${p.pid} ${p.command.slice(0, 160)}`);
    throw new Error(`${found.length} processes match ${pattern}:\n${all.join('\n')}`);
  }
  return first;
}

/** Addresses that a node's CNI has set aside, from its journal. */
function allocated(node: string): string[] {
  const journal = path.join(cluster.stateDir, 'nodes', node, 'cni', 'state', 'allocations.journal');
  const records = new Map<string, readonly string[]>();
  for (const line of readFileSync(journal, 'utf8').split('\n').filter(Boolean)) {
    const entry = JSON.parse(line) as { put?: string; del?: string; record?: { addresses: readonly string[] } };
    if (entry.put !== undefined) records.set(entry.put, entry.record?.addresses ?? []);
    if (entry.del !== undefined) records.delete(entry.del);
  }
  return [...records.values()].flat().map((a) => a.replace(/\/\d+$/, ''));
}

const sorted = (items: readonly string[]): string[] => [...items].sort((a, b) => a.localeCompare(b));

/** Every pod has exactly the addresses that are set aside for it, and no two pods have the same. */
async function addressesAddUp(): Promise<true> {
  const { items } = await cluster.json<{ items: PodInfo[] }>(['get', 'pods', '-A']);
  const own = items.filter((p) => p.spec.hostNetwork !== true && p.status.podIP !== undefined);
  const ips = own.map((p) => p.status.podIP ?? '');
  if (new Set(ips).size !== ips.length) throw new Error(`doubled: ${ips.join(' ')}`);
  for (const node of ['n1', 'n2', 'n3']) {
    const wanted = sorted(own.filter((p) => p.spec.nodeName === node).map((p) => p.status.podIP ?? ''));
    const have = sorted(allocated(node));
    if (wanted.join() !== have.join())
      throw new Error(`${node}: pods have ${wanted.join(' ')}, set aside are ${have.join(' ')}`);
  }
  return true;
}

let loadAddress = '';
let serviceAddress = '';

async function load(): Promise<Load> {
  return (await (await fetch(`http://${loadAddress}:9000/`, { signal: AbortSignal.timeout(3_000) })).json()) as Load;
}

beforeAll(async () => {
  await cluster.apply([
    programs(),
    echoDaemonSet(),
    service('echo', { selector: { app: 'echo' }, ports: ECHO_PORTS }),
    box('box', { node: 'n3' }),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'churn' },
      spec: {
        replicas: 2,
        selector: { matchLabels: { app: 'churn' } },
        template: {
          metadata: { labels: { app: 'churn' } },
          spec: {
            terminationGracePeriodSeconds: 0,
            containers: [{ name: 'c', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['sleep', '86400'] }],
          },
        },
      },
    },
  ]);
  const echo = await readyPods(cluster, 'app=echo', 3);
  serviceAddress = await cluster.ask(['get', 'svc', 'echo', '-o', 'jsonpath={.spec.clusterIP}']);
  // From n1 to n2, across the nodes.
  const peer = echo.find((p) => p.node === 'n2')?.ip ?? '';
  await cluster.apply(
    pod('load', programSpec('load.mjs', [`http://${serviceAddress}/`, peer, '8082']), { node: 'n1' }),
  );
  await waitReady(cluster, 'load', 'box');
  loadAddress = await cluster.ask(['get', 'pod', 'load', '-o', 'jsonpath={.status.podIP}']);
  await until('a first answer and a first line', async () => {
    const { requests, failed, lines } = await load();
    return requests - failed > 0 && lines > 0;
  });
});

describe('kill -9 under load', () => {
  let writer: Writer | undefined;
  afterAll(async () => {
    await writer?.stop();
  });

  it.each([
    ['the supervisor', /weft\.mjs supervise /],
    ['the API', /weft\.mjs api /],
    ['the agent of the client node', /weft\.mjs node run n1 /],
    ['the agent of the server node', /weft\.mjs node run n2 /],
    ['cluster DNS', /weft\.mjs dns /],
    ['the way out', /^pasta/],
  ])('%s', async (_, pattern) => {
    writer = new Writer(path.join(cluster.runDir, 'api.sock'));
    await until('first writes', async () => (writer?.acknowledged.size ?? 0) > 5);
    const before = await load();
    // Pods come and go in the very moment, so that additions and removals are cut off half-way.
    const churn = cluster.kubectl(['scale', 'deployment', 'churn', '--replicas=8'], { check: false });
    await pause(150);
    const victim = processOf(pattern);
    process.kill(victim.pid, 'SIGKILL');
    await churn;
    const shrink = cluster.kubectl(['scale', 'deployment', 'churn', '--replicas=3'], { check: false });

    // The process is back, the API answers, nodes are Ready, DNS answers.
    await until('another process', async () => processOf(pattern).pid !== victim.pid);
    await until('the API ready', async () =>
      (await cluster.kubectl(['get', '--raw', '/readyz'], { check: false })).stdout.startsWith('ok'),
    );
    await shrink;
    await cluster.kubectl(['scale', 'deployment', 'churn', '--replicas=3']);
    await until(
      'all nodes Ready',
      async () => ((await cluster.kubectl(['get', 'nodes'])).stdout.match(/^n\d\s+Ready\s/gm) ?? []).length === 3,
    );
    await until('every pod Ready, and as many as wanted', async () => {
      const { items } = await cluster.json<{ items: PodInfo[] }>(['get', 'pods', '-A']);
      const not = items.filter((p) => !isReady(p) || p.metadata.deletionTimestamp !== undefined);
      if (not.length > 0) throw new Error(not.map((p) => `${p.metadata.name} ${p.status.phase}`).join());
      return items.filter((p) => p.metadata.labels?.['app'] === 'churn').length === 3;
    });
    await until('an answer of cluster DNS', async () =>
      (
        await cluster.kubectl(['exec', 'box', '--', 'nslookup', 'echo.default.svc.cluster.local'], { check: false })
      ).stdout.includes(`Address: ${serviceAddress}`),
    );

    // New objects still reach the kernel of every node.
    await cluster.kubectl(['expose', 'deployment', 'churn', '--name=fresh', '--port=80']);
    await cluster.kubectl(['delete', 'svc', 'fresh']);

    // Nothing acknowledged is lost.
    await until('writes after it', async () => {
      const size = writer?.acknowledged.size ?? 0;
      await pause(100);
      return (writer?.acknowledged.size ?? 0) > size;
    });
    await writer.stop();
    const stored = new Set((await cluster.ask(['get', 'configmaps', '-o', 'name'])).split('\n'));
    expect([...writer.acknowledged].filter((name) => !stored.has(`configmap/${name}`))).toEqual([]);
    await cluster.kubectl(['delete', 'configmaps', '--all', '--wait=false']);
    await cluster.apply(programs());

    // The data path did not notice: no request failed and the connection is the first one.
    const after = await load();
    expect(after.failed - before.failed, after.failures.join('\n')).toBe(0);
    expect(after.requests).toBeGreaterThan(before.requests);
    expect(after.broken).toEqual([]);
    expect(after.connections).toBe(1);
    await until('further lines', async () => (await load()).lines > after.lines);

    // No address is leaked or given twice.
    await until('addresses that add up', addressesAddUp, { timeoutMs: 90_000, everyMs: 500 });
  });

  it('the first process of a node, which then starts like a machine that was switched off and on', async () => {
    const unit = readFileSync(path.join(cluster.runDir, 'nodes', 'n3', 'machine.pid'), 'utf8').trim();
    const node = clusterProcesses().find((p) => /unshare .* n3 /.test(p.command));
    expect(node, `machine ${unit}`).toBeDefined();
    process.kill(node?.pid ?? 0, 'SIGKILL');
    await until(
      'n3 with pods again',
      async () => {
        const found = (await readyPods(cluster, 'app=echo', 3)).find((p) => p.node === 'n3');
        return (
          found !== undefined && (await fetch(`http://${found.ip}:8080/`, { signal: AbortSignal.timeout(2_000) })).ok
        );
      },
      { timeoutMs: 60_000 },
    );
    const { broken, connections } = await load();
    expect(broken).toEqual([]);
    expect(connections).toBe(1);
    await until('addresses that add up', addressesAddUp, { timeoutMs: 90_000, everyMs: 500 });
  });
});
