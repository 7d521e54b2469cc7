import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { Agent } from '@weft/agent';
import { KubeClient } from '@weft/kube';
import { errorMessage, type Logger, Metrics } from '@weft/plan';
import { dnsServiceIp, kubernetesServiceIp } from '../cluster/addons.ts';
import type { ClusterConfig } from '../cluster/config.ts';
import { type ClusterPaths, nodeDirs } from '../cluster/paths.ts';
import { startKubelet } from '../kubelet/index.ts';
import { underlayAddresses } from '../topology/addresses.ts';
import { nodeSockets } from './cgroup.ts';
import { CniPodNetwork } from './network.ts';

/** Port of the agent's health and metrics, as kube-proxy's. */
const HEALTH_PORT = 10_256;
/** How often addresses are compared with the sandboxes there are. */
const RECONCILE_MS = 60_000;

/** Where other makers' plugins are, on Debian and elsewhere. */
const FOREIGN_BIN_DIRS = ['/usr/lib/cni', '/opt/cni/bin'];

export interface NodeOptions {
  readonly name: string;
  readonly config: ClusterConfig;
  readonly paths: ClusterPaths;
  /** Directory of the shim's source; without it plugins run as Node scripts. */
  readonly shimSourceDir: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** One node of the lab: the agent, and what a kubelet and its container runtime do elsewhere. */
export async function runNode(options: NodeOptions): Promise<void> {
  const { name, config, paths, log, signal } = options;
  const address = underlayAddresses(config).nodes.get(name)?.address;
  if (address === undefined) throw new RangeError(`cluster ${config.name} has no node ${name}`);
  const metrics = new Metrics();
  const dirs = nodeDirs(paths, name);
  mkdirSync(dirs.runDir, { recursive: true });
  const client = new KubeClient({ transport: { kind: 'unix', path: paths.apiSocket }, userAgent: `weft-node/${name}` });
  const confDir = path.join(dirs.dataDir, 'cni', 'net.d');
  const binDir = path.join(dirs.dataDir, 'cni', 'bin');
  const agent = new Agent({
    nodeName: name,
    client,
    clusterCidrs: [config.podCidr],
    serviceCidrs: [config.serviceCidr],
    fabric: { backend: config.backend, podCidrs: [config.podCidr] },
    cni: {
      confDir,
      binDir,
      socketPath: path.join(dirs.runDir, 'cni.sock'),
      stateDir: path.join(dirs.dataDir, 'cni', 'state'),
      shimCacheDir: path.join(path.dirname(paths.stateDir), 'shim'),
      shimSourceDir: options.shimSourceDir,
    },
    announce: true,
    ebpf: nodeSockets(config.name, name, dirs.runDir),
    listen: { host: address, port: HEALTH_PORT },
    log,
    metrics,
    signal,
  });
  const agentUp = agent.start();
  agentUp.catch((error: unknown) => log.error('the agent did not start', { error }));
  const kubelet = await startKubelet({
    nodeName: name,
    nodeIPs: [address],
    client,
    dataDir: dirs.dataDir,
    runDir: dirs.runDir,
    socketPath: dirs.kubeletSocket,
    imagesDir: paths.imagesDir,
    network: new CniPodNetwork({
      confDir,
      // Networks of pods may be other makers' plugins.
      binDirs: [binDir, ...FOREIGN_BIN_DIRS],
      cacheDir: path.join(dirs.runDir, 'cni-cache'),
      problem: () => agent.networkProblem,
    }),
    clusterDNS: [dnsServiceIp(config)],
    clusterDomain: config.clusterDomain,
    kubernetesService: { host: kubernetesServiceIp(config), port: 443 },
    ownMounts: true,
    rootless: config.rootless,
    log: log.child({ component: 'kubelet' }),
    metrics,
    signal,
  });
  await agentUp;
  const reconcile = async (): Promise<void> => {
    const asOf = Date.now();
    const valid = kubelet.sandboxes();
    await agent.reconcileSandboxes(valid, asOf);
  };
  const timer = setInterval(() => {
    reconcile().catch((error: unknown) => log.error('cannot reconcile pod addresses', { error: errorMessage(error) }));
  }, RECONCILE_MS);
  timer.unref();
  await reconcile();
}
