import { loadCluster, Supervisor } from '@weft/lab';
import { hostContext, processLogger, selfCommand } from '../context.ts';

/** The cluster's first Weft process; see Supervisor. */
export async function superviseCluster(name: string): Promise<void> {
  const log = processLogger('supervisor');
  const { config, paths } = loadCluster(name, hostContext());
  const supervisor = new Supervisor({
    config,
    paths,
    self: selfCommand(),
    prepareImages: async () => {
      const { prepareImages } = await import('../images.ts');
      return prepareImages(paths.imagesDir, log);
    },
    corefile: (await import('@weft/dns')).defaultCorefile({ zone: config.clusterDomain }),
    log,
  });
  await supervisor.run();
}
