import { downCluster, listClusters } from '@weft/lab';
import { hostContext } from '../context.ts';
import { createOutput, formatMs } from '../output.ts';
import { unmergeKubeconfig } from './kubeconfig.ts';

export async function down(options: {
  readonly name: string;
  readonly all?: boolean;
  readonly output?: string;
}): Promise<void> {
  const out = createOutput(options.output);
  const host = hostContext();
  const names = options.all === true ? listClusters(host).map((c) => c.config.name) : [options.name];
  const results: { name: string; removed: boolean; ms: number }[] = [];
  for (const name of names) {
    const began = performance.now();
    const removed = await downCluster(name, host);
    await unmergeKubeconfig(name);
    const ms = performance.now() - began;
    results.push({ name, removed, ms: Math.round(ms) });
    out.line(removed ? `Cluster ${name} is gone (${formatMs(ms)}).` : `There is no cluster ${name}; nothing to do.`);
  }
  if (names.length === 0) out.line('There is no cluster; nothing to do.');
  out.result(results);
}
