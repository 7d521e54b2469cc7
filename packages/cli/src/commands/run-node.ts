import path from 'node:path';
import { loadCluster } from '@weft/lab';
import { runNode as runLabNode } from '@weft/lab/node';
import { homeDir, hostContext, runDaemon } from '../context.ts';

/** The process of one node; see runNode of the lab. */
export async function runNode(name: string, options: { readonly cluster: string }): Promise<void> {
  await runDaemon(`node/${name}`, async (signal, log) => {
    const { config, paths } = loadCluster(options.cluster, hostContext());
    await runLabNode({
      name,
      config,
      paths,
      shimSourceDir: path.join(homeDir, 'native', 'cni-shim'),
      log,
      signal,
    });
  });
}
