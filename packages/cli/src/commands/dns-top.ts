import type { Recording } from '@weft/dns';
import { WeftError } from '@weft/plan';
import { type ClusterChoice, DnsCluster } from '../dns/cluster.ts';
import { type Client, mergeRecordings, type TopReport } from '../dns/top.ts';
import { createOutput, table } from '../output.ts';

export interface TopOptions extends ClusterChoice {
  readonly for: string;
  readonly output?: string;
}

/** Rows of each table for people; `-o json` has them all. */
const ROWS = 10;
const LIMIT = 1000;

/** `10s`, `2m` or a number of seconds. */
function seconds(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(s|m)?$/.exec(text);
  const value = match === null ? Number.NaN : Number(match[1]) * (match[2] === 'm' ? 60 : 1);
  if (value > 0 && value <= 300) return value;
  throw new WeftError({
    code: 'BAD_FLAG',
    message: `--for ${text}: not a time`,
    hint: 'from 1s to 5m, as in --for 10s',
  });
}

/** Watches cluster DNS for a while and shows who asks what, and what is asked for nothing. */
export async function dnsTop(options: TopOptions): Promise<void> {
  const out = createOutput(options.output);
  const time = seconds(options.for);
  const cluster = await DnsCluster.open(options);
  try {
    const servers = await cluster.servers();
    const recordings = await Promise.all(
      servers.map(async (server) => ({
        server,
        recording: await cluster.inspect(server, (ask) => ask<Recording>(`/top?for=${time}&limit=${LIMIT}`)),
      })),
    );
    const byAddress = new Map<string, Client>();
    for (const pod of await cluster.pods()) {
      // Pods of the host network share the node's address: no one of them can be named.
      if (pod.spec.hostNetwork === true) continue;
      for (const { ip } of pod.status?.podIPs ?? [])
        byAddress.set(ip, { namespace: pod.metadata.namespace ?? '', name: pod.metadata.name });
    }
    const report = mergeRecordings(recordings, (address) => byAddress.get(address));
    out.result(report);
    for (const line of textOf(report)) out.line(line);
  } finally {
    cluster.close();
  }
}

const percent = (part: number, whole: number): string => (whole === 0 ? '-' : `${((100 * part) / whole).toFixed(0)}%`);

function textOf(report: TopReport): string[] {
  const rate = (count: number): string => (count / report.seconds).toFixed(1);
  const lines = [
    `${report.queries} queries in ${report.seconds.toFixed(1)} s (${rate(report.queries)} a second) at ${report.servers.join(', ')}`,
    `${report.nxdomain} (${percent(report.nxdomain, report.queries)}) were for names that do not exist`,
  ];
  if (report.queries === 0) return lines;
  const rows = <T>(list: readonly T[], row: (item: T) => string[]): string[][] => list.slice(0, ROWS).map(row);
  const searched = report.suffixes.reduce((sum, s) => sum + s.count, 0);
  lines.push(
    '',
    ...table(
      ['NAME', 'TYPE', 'QUERIES', 'PER SECOND', 'NXDOMAIN'],
      rows(report.names, (n) => [n.name, n.type, `${n.count}`, rate(n.count), percent(n.nxdomain, n.count)]),
    ),
    '',
    ...table(
      ['CLIENT', 'POD', 'QUERIES', 'PER SECOND', 'NXDOMAIN', 'BY SEARCH PATH'],
      rows(report.clients, (c) => [
        c.client,
        c.pod ?? '<none>',
        `${c.count}`,
        rate(c.count),
        percent(c.nxdomain, c.count),
        percent(c.search, c.count),
      ]),
    ),
  );
  if (searched > 0) {
    lines.push(
      '',
      `The search path (ndots) cost ${searched} queries, ${percent(searched, report.queries)} of all:`,
      ...table(
        ['SEARCH DOMAIN', 'QUERIES', 'PER SECOND'],
        rows(report.suffixes, (s) => [s.suffix, `${s.count}`, rate(s.count)]),
      ),
      'A name with a final dot, or dnsConfig with ndots:1 or 2, spares them; so does the autopath plugin.',
    );
  }
  if (report.forgotten > 0) lines.push('', `${report.forgotten} queries for rare names are not listed.`);
  return lines;
}
