import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { loadCluster } from '@weft/lab';
import { imagesReady, Supervisor } from '@weft/lab/supervisor';
import { distDir, hostContext, processLogger, selfCommand } from '../context.ts';

/** The cluster's first Weft process; see Supervisor. */
export async function superviseCluster(name: string): Promise<void> {
  const log = processLogger('supervisor');
  const { config, paths } = loadCluster(name, hostContext());
  const supervisor = new Supervisor({
    config,
    paths,
    self: selfCommand(),
    prepareImages: async () => {
      if (await imagesReady(paths.imagesDir, distDir, process.execPath)) return 'in store';
      // In a process of its own: it holds whole images in memory, which this one would never give back.
      const [file, ...args] = [...selfCommand(), 'image', 'prepare', '--dir', paths.imagesDir];
      return (await promisify(execFile)(file, args)).stdout.trim();
    },
    corefile: (await import('@weft/dns')).defaultCorefile({ zone: config.clusterDomain }),
    log,
  });
  await supervisor.run();
}
