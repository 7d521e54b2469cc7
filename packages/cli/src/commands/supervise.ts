import { loadCluster } from '@weft/lab';
import { prepareImages, Supervisor } from '@weft/lab/supervisor';
import { distDir, hostContext, processLogger, selfCommand } from '../context.ts';

/** The cluster's first Weft process; see Supervisor. */
export async function superviseCluster(name: string): Promise<void> {
  const log = processLogger('supervisor');
  const { config, paths } = loadCluster(name, hostContext());
  const supervisor = new Supervisor({
    config,
    paths,
    self: selfCommand(),
    prepareImages: () => prepareImages(paths.imagesDir, distDir, process.execPath),
    corefile: (await import('@weft/dns')).defaultCorefile({ zone: config.clusterDomain }),
    log,
  });
  await supervisor.run();
}
