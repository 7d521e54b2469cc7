import { setTimeout as sleep } from 'node:timers/promises';
import { ACTIVE_PROXY_MODE, PROXY_MODE } from '@weft/agent';
import { KubeClient, type Node, resources } from '@weft/kube';
import { findCluster } from '@weft/lab';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';
import { createOutput, table } from '../output.ts';

export interface Where {
  readonly name: string;
  readonly kubeconfig?: string;
}

/** A client of a cluster on this machine, or of any cluster by its kubeconfig. Close it after use. */
export async function clientOf({ name, kubeconfig }: Where): Promise<KubeClient> {
  if (kubeconfig !== undefined) return KubeClient.fromKubeconfig(kubeconfig);
  const cluster = findCluster(name, hostContext());
  if (cluster?.pids === undefined) {
    throw new WeftError({
      code: 'NOT_RUNNING',
      message: `cluster ${name} is not running`,
      hint: 'start it with: weft up, or name another cluster by --kubeconfig FILE',
    });
  }
  return new KubeClient({ transport: { kind: 'unix', path: cluster.paths.apiSocket } });
}

interface ModeRow {
  readonly node: string;
  readonly active: string | undefined;
  readonly wanted: string | undefined;
}

function rowOf(node: Node): ModeRow {
  const annotations = node.metadata.annotations ?? {};
  return { node: node.metadata.name, active: annotations[ACTIVE_PROXY_MODE], wanted: annotations[PROXY_MODE] };
}

async function rows(client: KubeClient, only: readonly string[]): Promise<ModeRow[]> {
  const { items } = await client.list(resources.nodes);
  const missing = only.find((name) => !items.some((node) => node.metadata.name === name));
  if (missing !== undefined) {
    throw new WeftError({
      code: 'NO_SUCH_NODE',
      message: `there is no node "${missing}"`,
      hint: `nodes are ${items.map((node) => node.metadata.name).join(', ')}`,
    });
  }
  return items.map(rowOf).filter((row) => only.length === 0 || only.includes(row.node));
}

export interface ModeOptions extends Where {
  readonly node?: readonly string[];
  readonly output?: string;
}

/** Shows the data plane of Services of every node. */
export async function proxyMode(options: ModeOptions): Promise<void> {
  const out = createOutput(options.output);
  const client = await clientOf(options);
  try {
    show(await rows(client, options.node ?? []), out);
  } finally {
    client.close();
  }
}

function show(list: readonly ModeRow[], out: ReturnType<typeof createOutput>): void {
  out.result(list);
  for (const line of table(
    ['NODE', 'MODE', 'CHOSEN BY'],
    list.map((r) => [r.node, r.active ?? '<unknown>', r.wanted === undefined ? 'default' : `annotation ${PROXY_MODE}`]),
  )) {
    out.line(line);
  }
}

/** Longest that a node may take to change its data plane, milliseconds. */
const CHANGE_MS = 30_000;

/** Changes the data plane of nodes, all of them when none is named, and waits until it is in effect. */
export async function setProxyMode(mode: string, options: ModeOptions): Promise<void> {
  const out = createOutput(options.output);
  const client = await clientOf(options);
  try {
    const nodes = (await rows(client, options.node ?? [])).map((row) => row.node);
    const wanted = mode === 'default' ? null : mode;
    for (const node of nodes) {
      await client.patch(resources.nodes, undefined, node, { metadata: { annotations: { [PROXY_MODE]: wanted } } });
    }
    const until = Date.now() + CHANGE_MS;
    let list = await rows(client, nodes);
    const target = mode === 'default' ? 'nftables' : mode;
    while (list.some((row) => row.active !== target) && Date.now() < until) {
      await sleep(50);
      list = await rows(client, nodes);
    }
    show(list, out);
    const late = list.filter((row) => row.active !== target);
    if (late.length > 0) {
      throw new WeftError({
        code: 'PROXY_MODE_NOT_CHANGED',
        message: `${late.map((row) => `node ${row.node} has ${row.active ?? 'no data plane'}`).join(', ')} instead of ${target}`,
        hint: 'kubectl describe node shows the Event that says why',
      });
    }
  } finally {
    client.close();
  }
}
