import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { createStreamingHandler, startApiServer } from '@weft/apiserver';
import { startControllers } from '@weft/controllers';
import { KubeClient } from '@weft/kube';
import { ensureBalancerPool, loadCluster, nodeDirs, UNDERLAY_API_PORT, underlayAddresses } from '@weft/lab';
import { notEnforcedInLab, startWorkloads } from '@weft/lab/controllers';
import { type Logger, Metrics } from '@weft/plan';
import { hostContext, runDaemon } from '../context.ts';
import { contextName } from './kubeconfig.ts';

/** The control plane of a lab cluster: the API, and the controllers and scheduler beside it. */
export async function runApi(name: string): Promise<void> {
  await runDaemon('api', (stop, log) => startControlPlane(name, stop, log));
}

async function startControlPlane(name: string, stop: AbortSignal, log: Logger): Promise<void> {
  const metrics = new Metrics();
  const { config, paths } = loadCluster(name, hostContext());
  mkdirSync(paths.runDir, { recursive: true });
  const router = underlayAddresses(config).routers[0] as string;
  const server = await startApiServer({
    dataDir: paths.apiDataDir,
    listen: { host: '127.0.0.1', port: config.apiPort },
    unixPath: paths.apiSocket,
    unixTlsPath: paths.apiTlsSocket,
    serviceCidrs: [config.serviceCidr],
    podCidrs: [config.podCidr],
    advertiseAddress: router,
    advertisePort: UNDERLAY_API_PORT,
    extraSans: [router],
    nodePortRange: config.nodePortRange,
    clusterDomain: config.clusterDomain,
    durability: 'fsync',
    log,
    metrics,
    streaming: createStreamingHandler((node) => nodeDirs(paths, node).kubeletSocket),
  });
  writeFileSync(`${paths.kubeconfig}.new`, server.kubeconfig({ name: contextName(config.name) }), { mode: 0o600 });
  renameSync(`${paths.kubeconfig}.new`, paths.kubeconfig);
  const client = new KubeClient({
    transport: { kind: 'unix', path: paths.apiSocket },
    userAgent: `weft-controllers/${path.basename(paths.stateDir)}`,
  });
  const common = { client, log, metrics, signal: stop };
  // Without it Services of type LoadBalancer stay pending; everything else works.
  await ensureBalancerPool(client, config).catch((error: unknown) =>
    log.error('no pool for load balancers', { error }),
  );
  await startControllers({
    ...common,
    clusterCidrs: [config.podCidr],
    serviceCidrs: [config.serviceCidr],
    nodeCidrMaskSize: config.nodeCidrMaskSize,
    notEnforced: notEnforcedInLab,
    loadBalancer: true,
  });
  await startWorkloads(common);
  stop.addEventListener('abort', () => {
    client.close();
    void server.close();
  });
}
