import {
  askControl,
  type ClusterConfig,
  findCluster,
  type HostContext,
  type KnownCluster,
  listClusters,
  type SupervisorStatus,
} from '@weft/lab';
import { KubeClient, type Node, type Pod, resources } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { hostContext } from '../context.ts';
import { createOutput, table } from '../output.ts';

export interface NodeReport {
  readonly name: string;
  readonly status: string;
  readonly address: string;
  readonly podCidr: string;
  readonly pods: number;
}

export interface ClusterReport {
  readonly name: string;
  readonly running: boolean;
  readonly api: string;
  readonly kubeconfig: string;
  readonly config: ClusterConfig;
  readonly nodes: readonly NodeReport[];
  readonly units: SupervisorStatus['units'];
  readonly logs: string;
  /** Why pods cannot reach outside; undefined when they can. */
  readonly wayOutObstacle?: string;
}

function nodeStatus(node: Node): string {
  const ready = node.status?.conditions?.find((c) => c.type === 'Ready')?.status === 'True' ? 'Ready' : 'NotReady';
  return node.spec?.unschedulable === true ? `${ready},SchedulingDisabled` : ready;
}

/** Everything that `weft status` tells of one cluster. */
export async function clusterReport(cluster: KnownCluster, _host: HostContext): Promise<ClusterReport> {
  const { config, paths } = cluster;
  const report = {
    name: config.name,
    running: cluster.pids !== undefined,
    api: `https://127.0.0.1:${config.apiPort}`,
    kubeconfig: paths.kubeconfig,
    config,
    logs: paths.logDir,
  };
  if (cluster.pids === undefined) return { ...report, nodes: [], units: [] };
  const client = new KubeClient({ transport: { kind: 'unix', path: paths.apiSocket } });
  try {
    const [supervisor, nodes, pods] = await Promise.all([
      askControl<SupervisorStatus>(paths.controlSocket, 'GET', '/status').catch(() => undefined),
      client.list<Node>(resources.nodes, undefined).then(
        (l) => l.items,
        () => [] as Node[],
      ),
      client.list<Pod>(resources.pods, undefined).then(
        (l) => l.items,
        () => [] as Pod[],
      ),
    ]);
    return {
      ...report,
      units: supervisor?.units ?? [],
      ...(supervisor?.wayOutObstacle === undefined ? {} : { wayOutObstacle: supervisor.wayOutObstacle }),
      nodes: nodes.map((n) => ({
        name: n.metadata.name ?? '',
        status: nodeStatus(n),
        address: n.status?.addresses?.find((a) => a.type === 'InternalIP')?.address ?? '<none>',
        podCidr: n.spec?.podCIDR ?? '<none>',
        pods: pods.filter((p) => p.spec?.nodeName === n.metadata.name).length,
      })),
    };
  } finally {
    client.close();
  }
}

export function nodeTable(report: ClusterReport): string[] {
  return table(
    ['NODE', 'STATUS', 'IP', 'POD CIDR', 'PODS'],
    report.nodes.map((n) => [n.name, n.status, n.address, n.podCidr, String(n.pods)]),
  );
}

export async function status(options: { readonly name?: string; readonly output?: string }): Promise<void> {
  const out = createOutput(options.output);
  const host = hostContext();
  const clusters =
    options.name === undefined ? listClusters(host) : [findCluster(options.name, host)].filter((c) => c !== undefined);
  if (options.name !== undefined && clusters.length === 0) {
    throw new WeftError({
      code: 'NO_SUCH_CLUSTER',
      message: `there is no cluster "${options.name}"`,
      hint: 'weft status lists the clusters; weft up makes one',
    });
  }
  const reports = await Promise.all(clusters.map((c) => clusterReport(c, host)));
  out.result(options.name === undefined ? reports : reports[0]);
  if (reports.length === 0) out.line('No cluster. Start one with: weft up');
  for (const report of reports) {
    out.line(
      `Cluster ${report.name}: ${report.running ? 'running' : 'not running (weft up starts it again, weft down removes it)'}`,
    );
    out.line(`  API         ${report.api}`);
    out.line(`  kubeconfig  ${report.kubeconfig}`);
    out.line(
      `  network     ${report.config.backend}, pods ${report.config.podCidr}, Services ${report.config.serviceCidr}, nodes ${report.config.underlayCidr}`,
    );
    out.line(`  logs        ${report.logs}`);
    if (report.wayOutObstacle !== undefined) out.line(`  way out     none: ${report.wayOutObstacle}`);
    const off = report.units.filter((u) => !u.running);
    if (off.length > 0)
      out.line(`  not running ${off.map((u) => (u.stopped ? `${u.name} (stopped)` : u.name)).join(', ')}`);
    for (const line of report.nodes.length === 0 ? [] : nodeTable(report)) out.line(`  ${line}`);
  }
}
