import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import os from 'node:os';
import { EventRecorder, isStatus, type KubeClient, type Node, resources } from '@weft/kube';
import type { NetNs } from '@weft/kernel';
import { type Family, parsePrefix } from '@weft/net';
import { type Logger, Metrics, WeftError } from '@weft/plan';
import { EbpfDataPlane } from '../ebpf/dataplane.ts';
import { NODE_PLACES } from '../ebpf/places.ts';
import { IptablesDataPlane } from '../iptables/dataplane.ts';
import { NftablesDataPlane } from '../nftables/dataplane.ts';
import type { IpvsSettings } from '../ipvs/compile.ts';
import { IpvsDataPlane } from '../ipvs/dataplane.ts';
import { UserspaceDataPlane, type UserspaceSettings } from '../userspace/dataplane.ts';
import { familyConfigs, type Mode, MODES, type TableOptions, usesNftables } from '../options.ts';
import { proxyInformers, ServiceProxy } from '../proxy.ts';
import type { KubeProxyConfiguration } from './configuration.ts';
import { tuneConntrack } from './conntrack.ts';
import { processMetrics } from './process-metrics.ts';
import { healthzServer, listenFor, metricsServer } from './servers.ts';

export interface KubeProxyOptions {
  readonly config: KubeProxyConfiguration;
  readonly client: KubeClient;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Namespace of the node; the caller's when absent. */
  readonly ns?: NetNs;
  readonly version?: string;
}

/** A proxy at work. */
export interface RunningKubeProxy {
  readonly proxy: ServiceProxy;
  /** Changes to the mode of a configuration that differs in nothing else, with that mode's own settings. */
  readonly change: (config: KubeProxyConfiguration) => Promise<void>;
}

/** kube-proxy's name of a node: the override, or the host's name in lower case. */
function nodeNameOf(config: Pick<KubeProxyConfiguration, 'hostnameOverride'>): string {
  const name = (config.hostnameOverride || os.hostname()).trim().toLowerCase();
  if (name !== '') return name;
  throw new WeftError({
    code: 'KUBE_PROXY_NODE_NAME',
    message: 'empty hostname is invalid',
    hint: 'use --hostname-override',
  });
}

/** The data plane that a configuration asks for. Throws WeftError for a mode that is not here. */
export function modeOf(config: Pick<KubeProxyConfiguration, 'mode'>): Mode {
  if (config.mode === '') return 'nftables';
  const mode = MODES.find((known) => known === config.mode);
  if (mode !== undefined) return mode;
  throw new WeftError({
    code: 'KUBE_PROXY_MODE',
    message: `KubeProxyConfiguration.mode: ${JSON.stringify(config.mode)} is not available in this build`,
    hint: `use one of ${MODES.join(', ')}; nftables is the default`,
  });
}

/**
 * Runs kube-proxy until `signal`. Resolves when the first sync is over; rejects when it cannot start. What is written to
 * the kernel stays when it ends.
 */
export async function runKubeProxy(options: KubeProxyOptions): Promise<RunningKubeProxy> {
  const { config, client, log, signal, ns } = options;
  const mode = modeOf(config);
  const nodeName = nodeNameOf(config);
  const metrics = new Metrics();
  processMetrics(metrics, options.version ?? '0.0.0');
  setOomScore(config.oomScoreAdj, log);
  tuneConntrack(config.conntrack, log, ns);
  const recorder = new EventRecorder({ client, component: 'kube-proxy', host: nodeName, log });
  const at = { client, nodeName, log, signal };
  const table = await tableOptions(config, mode, at);
  const { start, ...sources } = proxyInformers({ client, nodeName, log, metrics });
  const proxy = new ServiceProxy({
    ...table,
    nodeName,
    sources,
    dataPlane: mode,
    log,
    metrics,
    // A restore of iptables holds the lock that all share; a change of a map does not.
    ...(usesNftables(mode) ? {} : { minSyncMs: config[mode === 'ipvs' ? 'ipvs' : 'iptables'].minSyncPeriod }),
    ...(ns === undefined ? {} : { ns }),
    event: (service, type, reason, message) => {
      const [namespace = '', name = ''] = service.split('/');
      recorder.event({ apiVersion: 'v1', kind: 'Service', namespace, name }, type, reason, message);
    },
  });
  const hard = config.bindAddressHardFail;
  const shared = { hard, signal, log };
  if (config.healthzBindAddress !== '') {
    const server = healthzServer({ health: () => proxy.health, metrics });
    await listenFor(server, config.healthzBindAddress, { ...shared, what: 'healthz' });
  }
  if (config.metricsBindAddress !== '') {
    const server = metricsServer({ metrics, mode: () => proxy.dataPlane.name, config });
    await listenFor(server, config.metricsBindAddress, { ...shared, what: 'metrics' });
  }
  log.info(`Using ${mode} Proxier`);
  await proxy.start(signal);
  start(signal);
  const about = { apiVersion: 'v1', kind: 'Node', name: nodeName, uid: nodeName };
  recorder.event(about, 'Normal', 'Starting', '');
  await proxy.synced;
  // What a run in another mode has left would go on translating by what was true then.
  for (const other of MODES.filter((known) => known !== mode)) {
    await proxy
      .removeTraces(other)
      .catch((error: unknown) => log.warn('cannot remove rules of another mode', { other, error }));
  }
  const change = async (next: KubeProxyConfiguration): Promise<void> =>
    proxy.switchTo(modeOf(next), await tableOptions(next, modeOf(next), at));
  return { proxy, change };
}

/** Removes every trace of every data plane, on both families. */
export async function cleanupKubeProxy(log: Logger, ns?: NetNs): Promise<void> {
  const shared = { log, tables: [], ...(ns === undefined ? {} : { ns }) };
  await new NftablesDataPlane(shared).cleanup();
  await new IptablesDataPlane(shared).cleanup();
  await new IpvsDataPlane(shared).cleanup();
  await new UserspaceDataPlane(shared).cleanup();
  await new EbpfDataPlane({ ...shared, places: NODE_PLACES }).cleanup();
}

function setOomScore(score: number, log: Logger): void {
  try {
    writeFileSync('/proc/self/oom_score_adj', String(score));
  } catch (error) {
    log.warn('cannot set the OOM score', { score, error });
  }
}

/** Families that this kernel has; kube-proxy serves both where it can. */
function families(): Family[] {
  return existsSync('/proc/net/if_inet6') && readFileSync('/proc/net/if_inet6', 'utf8') !== '' ? [4, 6] : [4];
}

interface Surroundings {
  readonly client: KubeClient;
  readonly nodeName: string;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

async function tableOptions(config: KubeProxyConfiguration, mode: Mode, at: Surroundings): Promise<TableOptions> {
  // Modes that have no part of their own take their masquerading from that of the rules they write.
  const plane = config[usesNftables(mode) ? 'nftables' : 'iptables'];
  const { detectLocalMode, detectLocal } = config;
  const shared = {
    families: families(),
    serviceCidrs: usesNftables(mode) ? await serviceCidrs(at) : [],
    masqueradeAll: plane.masqueradeAll,
    masqueradeBit: plane.masqueradeBit,
    localhostNodePorts: config.iptables.localhostNodePorts,
    ...(mode === 'ipvs' ? { ipvs: ipvsSettings(config.ipvs) } : {}),
    ...(mode === 'userspace' ? { userspace: userspaceSettings(config) } : {}),
    ...(config.nodePortAddresses.length === 0 ? {} : { nodePortAddresses: config.nodePortAddresses }),
  };
  switch (detectLocalMode) {
    case 'BridgeInterface':
      return { ...shared, clusterCidrs: [], detector: { by: 'bridge', name: detectLocal.bridgeInterface } };
    case 'InterfaceNamePrefix':
      return {
        ...shared,
        clusterCidrs: [],
        detector: { by: 'interfacePrefix', prefix: detectLocal.interfaceNamePrefix },
      };
    case 'NodeCIDR':
      return { ...shared, clusterCidrs: await nodeCidrs(at) };
    default: {
      const cidrs = config.clusterCIDR.split(',').map((block) => block.trim());
      const clusterCidrs = cidrs.filter((block) => parsePrefix(block) !== undefined);
      if (clusterCidrs.length === 0) {
        at.log.warn(
          'Detect-local-mode set to ClusterCIDR, but no cluster CIDR specified: nothing is told apart as local',
        );
      }
      familyConfigs({ ...shared, clusterCidrs }, mode);
      return { ...shared, clusterCidrs };
    }
  }
}

/** Seconds where the configuration has milliseconds. */
function ipvsSettings(ipvs: KubeProxyConfiguration['ipvs']): IpvsSettings {
  const { scheduler, strictARP, excludeCIDRs } = ipvs;
  return {
    ...(scheduler === '' ? {} : { scheduler }),
    strictARP,
    excludeCIDRs,
    tcpTimeout: Math.round(ipvs.tcpTimeout / 1000),
    tcpFinTimeout: Math.round(ipvs.tcpFinTimeout / 1000),
    udpTimeout: Math.round(ipvs.udpTimeout / 1000),
  };
}

function userspaceSettings({ portRange, conntrack }: KubeProxyConfiguration): UserspaceSettings {
  return { portRange, ...(conntrack.udpTimeout > 0 ? { udpIdleMs: conntrack.udpTimeout } : {}) };
}

/** Blocks of Services, from the API; none where it has no such objects or does not show them. */
async function serviceCidrs({ client, log }: Surroundings): Promise<string[]> {
  try {
    const { items } = await client.list(resources.servicecidrs);
    return items.flatMap((item) => item.spec?.cidrs ?? []);
  } catch (error) {
    log.info('no ServiceCIDRs to read: addresses that no Service has are not dropped', { error });
    return [];
  }
}

/** Milliseconds between looks for the Node's pod CIDRs. */
const NODE_RETRY_MS = 1000;

async function nodeCidrs({ client, nodeName, log, signal }: Surroundings): Promise<string[]> {
  for (let said = false; !signal.aborted; said = true) {
    try {
      const node: Node = await client.get(resources.nodes, undefined, nodeName);
      const cidrs = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
      if (cidrs.length > 0) return cidrs;
    } catch (error) {
      if (!said) log.warn('cannot read the Node; trying again', { node: nodeName, error, status: isStatus(error) });
    }
    if (!said) log.info('NodeCIDR mode is waiting for the pod CIDR of the Node', { node: nodeName });
    await new Promise((resolve) => setTimeout(resolve, NODE_RETRY_MS));
  }
  throw new WeftError({
    code: 'KUBE_PROXY_STOPPED',
    message: `stopped before Node ${nodeName} had a pod CIDR`,
    hint: 'none',
  });
}
