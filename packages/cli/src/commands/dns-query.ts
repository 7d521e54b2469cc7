import { type Inspected, searchCandidates } from '@weft/dns';
import { formatResolvConf, parseResolvConf, type ResolvConf } from '@weft/lab';
import { type Pod, resources } from '@weft/kube';
import { formatProvenance, WeftError } from '@weft/plan';
import { type ClusterChoice, DnsCluster } from '../dns/cluster.ts';
import { createOutput } from '../output.ts';

export interface QueryOptions extends ClusterChoice {
  readonly from?: string;
  readonly type: string;
  readonly output?: string;
}

/** What `weft dns query` tells. */
interface QueryReport {
  readonly name: string;
  readonly type: string;
  /** The pod that asks, `NAMESPACE/NAME`, and its address; absent when any pod of namespace default would. */
  readonly from?: { readonly pod: string; readonly ip: string };
  readonly resolvConf: ResolvConf;
  /** The DNS pod that was asked. */
  readonly server: string;
  /** The queries of the resolver, in order; the last one is the answer. */
  readonly queries: readonly Inspected[];
  readonly found: boolean;
}

const NDOTS = 1;

async function pod(cluster: DnsCluster, from: string): Promise<Pod> {
  const [namespace, name] = from.includes('/') ? (from.split('/', 2) as [string, string]) : ['default', from];
  return cluster.client.get<Pod>(resources.pods, namespace, name).catch((error: unknown) => {
    throw new WeftError({
      code: 'NO_SUCH_POD',
      message: `--from: cannot read pod ${namespace}/${name}`,
      hint: 'write NAMESPACE/POD, or POD for namespace default',
      cause: error,
    });
  });
}

async function resolvConfOf(cluster: DnsCluster, from: Pod | undefined): Promise<ResolvConf> {
  if (from === undefined) {
    const domain = cluster.domain ?? 'cluster.local';
    return { nameservers: [], searches: [`default.svc.${domain}`, `svc.${domain}`, domain], options: ['ndots:5'] };
  }
  const { namespace = 'default', name } = from.metadata;
  const text = await cluster.exec(namespace, name, ['cat', '/etc/resolv.conf']);
  if (text === undefined) {
    throw new WeftError({
      code: 'NO_RESOLV_CONF',
      message: `cannot read /etc/resolv.conf of pod ${namespace}/${name}`,
      hint: 'the pod must run, and its image must have "cat"; without --from a pod of namespace default is assumed',
    });
  }
  return parseResolvConf(text);
}

/** Asks what a pod's resolver would ask, and shows what answered and why. */
export async function dnsQuery(name: string, options: QueryOptions): Promise<void> {
  const out = createOutput(options.output);
  const cluster = await DnsCluster.open(options);
  try {
    const from = options.from === undefined ? undefined : await pod(cluster, options.from);
    const conf = await resolvConfOf(cluster, from);
    const ndots = Number(conf.options.findLast((o) => o.startsWith('ndots:'))?.slice(6) ?? NDOTS);
    const ip = from?.status?.podIP;
    const server = (await cluster.servers())[0] as string;
    const queries = await cluster.inspect(server, async (ask) => {
      const asked: Inspected[] = [];
      for (const candidate of searchCandidates(name, { searches: conf.searches, ndots })) {
        const params = new URLSearchParams({ name: candidate, type: options.type, ...(ip ? { client: ip } : {}) });
        const answer = await ask<Inspected>(`/query?${params.toString()}`);
        asked.push(answer);
        if (answer.answers.length > 0) break;
      }
      return asked;
    });
    const report: QueryReport = {
      name,
      type: options.type.toUpperCase(),
      ...(from === undefined
        ? {}
        : { from: { pod: `${from.metadata.namespace}/${from.metadata.name}`, ip: ip ?? '' } }),
      resolvConf: conf,
      server,
      queries,
      found: (queries.at(-1)?.answers.length ?? 0) > 0,
    };
    out.result(report);
    for (const line of textOf(report)) out.line(line);
    if (!report.found) process.exitCode = 1;
  } finally {
    cluster.close();
  }
}

function textOf(report: QueryReport): string[] {
  const lines: string[] = [];
  const who = report.from === undefined ? 'a pod of namespace default' : `pod ${report.from.pod} (${report.from.ip})`;
  lines.push(`${who} asks ${report.server} for ${report.name} ${report.type}`, '', 'resolv.conf');
  for (const line of formatResolvConf(report.resolvConf).trimEnd().split('\n')) lines.push(`  ${line}`);
  lines.push('', 'queries');
  report.queries.forEach((query, i) => {
    const by = query.plugin === '' ? 'the server itself' : `plugin ${query.plugin}`;
    const rcode = query.rcode === 'NOERROR' && query.answers.length === 0 ? 'NOERROR, no records' : query.rcode;
    lines.push(
      `  ${i + 1}. ${query.name} ${query.type}  ${rcode}  (${by}, zone ${query.zone || 'none'}, ${query.ms.toFixed(2)} ms)`,
    );
    for (const record of query.answers) lines.push(`       ${record.name} ${record.ttl} ${record.type} ${record.data}`);
    for (const object of query.objects) lines.push(`       from ${formatProvenance(object)}`);
  });
  const wasted = report.queries.filter((query) => query.answers.length === 0).length;
  lines.push('');
  if (!report.found) lines.push(`not found, after ${report.queries.length} queries`);
  else if (wasted === 0) lines.push('found by the first query');
  else
    lines.push(
      `found by query ${wasted + 1}; ${wasted} ${wasted === 1 ? 'was' : 'were'} spent on the search path (a name with a final dot costs one)`,
    );
  return lines;
}
