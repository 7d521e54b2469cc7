import { Metrics, silentLogger } from '@weft/plan';
import { parseCorefile } from '../../src/corefile/parser.ts';
import { fileImports } from '../../src/corefile/files.ts';
import { isDirective } from '../../src/plugins/index.ts';
import { configure } from '../../src/server/configuration.ts';
import { HttpHub } from '../../src/server/http.ts';
import { DnsMetrics } from '../../src/server/metrics.ts';
import type { Clock, KubeSource } from '../../src/server/plugin.ts';
import { Shared } from '../../src/server/shared.ts';
import type { Site } from '../../src/server/site.ts';

export interface StartedSite {
  readonly site: Site;
  readonly metrics: DnsMetrics;
  stop(): Promise<void>;
}

/** What a Corefile serves at its first address, without sockets. */
export async function startSite(corefile: string, kube: KubeSource, clock: Clock): Promise<StartedSite> {
  const metrics = new DnsMetrics();
  const options = { env: {}, imports: fileImports, isDirective, warn: () => {} };
  const configuration = configure(parseCorefile(corefile, 'Corefile', options), {
    runtime: {
      version: '',
      log: silentLogger,
      metrics,
      loopMetrics: new Metrics(),
      http: new HttpHub(undefined),
      kube: () => kube,
      clock,
      shared: new Shared(),
      corefile: undefined,
      reload: () => Promise.resolve(),
      configHash: () => '',
      currentHash: () => '',
      setDebug: () => {},
      fatal: (error) => {
        throw error;
      },
    },
    warn: () => {},
  });
  await configuration.start();
  const site = configuration.sites.values().next().value?.site;
  if (site === undefined) throw new Error('the Corefile serves nothing');
  return { site, metrics, stop: () => configuration.stop() };
}
