/** Durations in milliseconds. Fields, names and defaults of kubeproxy.config.k8s.io/v1alpha1. */
export interface KubeProxyConfiguration {
  featureGates: Record<string, boolean>;
  clientConnection: {
    kubeconfig: string;
    acceptContentTypes: string;
    contentType: string;
    qps: number;
    burst: number;
  };
  logging: { format: string; verbosity: number };
  hostnameOverride: string;
  bindAddress: string;
  healthzBindAddress: string;
  metricsBindAddress: string;
  bindAddressHardFail: boolean;
  enableProfiling: boolean;
  showHiddenMetricsForVersion: string;
  mode: string;
  iptables: {
    masqueradeBit: number;
    masqueradeAll: boolean;
    localhostNodePorts: boolean;
    syncPeriod: number;
    minSyncPeriod: number;
  };
  ipvs: {
    syncPeriod: number;
    minSyncPeriod: number;
    scheduler: string;
    excludeCIDRs: string[];
    strictARP: boolean;
    tcpTimeout: number;
    tcpFinTimeout: number;
    udpTimeout: number;
  };
  nftables: { masqueradeBit: number; masqueradeAll: boolean; syncPeriod: number; minSyncPeriod: number };
  winkernel: {
    networkName: string;
    sourceVip: string;
    enableDSR: boolean;
    rootHnsEndpointName: string;
    forwardHealthCheckVip: boolean;
  };
  detectLocalMode: string;
  detectLocal: { bridgeInterface: string; interfaceNamePrefix: string };
  clusterCIDR: string;
  nodePortAddresses: string[];
  oomScoreAdj: number;
  conntrack: {
    maxPerCore: number;
    min: number;
    tcpEstablishedTimeout: number;
    tcpCloseWaitTimeout: number;
    tcpBeLiberal: boolean;
    udpTimeout: number;
    udpStreamTimeout: number;
  };
  configSyncPeriod: number;
  portRange: string;
  windowsRunAsService: boolean;
}

const SECOND = 1000;
const HOUR = 3_600_000;

/** What kube-proxy sets where nothing is said. `mode` '' is this platform's default: nftables here, iptables there. */
export function defaultConfiguration(): KubeProxyConfiguration {
  return {
    featureGates: {},
    clientConnection: {
      kubeconfig: '',
      acceptContentTypes: '',
      contentType: 'application/vnd.kubernetes.protobuf',
      qps: 5,
      burst: 10,
    },
    logging: { format: 'text', verbosity: 0 },
    hostnameOverride: '',
    bindAddress: '0.0.0.0',
    healthzBindAddress: '0.0.0.0:10256',
    metricsBindAddress: '127.0.0.1:10249',
    bindAddressHardFail: false,
    enableProfiling: false,
    showHiddenMetricsForVersion: '',
    mode: '',
    iptables: {
      masqueradeBit: 14,
      masqueradeAll: false,
      localhostNodePorts: true,
      syncPeriod: 30 * SECOND,
      minSyncPeriod: SECOND,
    },
    ipvs: {
      syncPeriod: 30 * SECOND,
      minSyncPeriod: 0,
      scheduler: '',
      excludeCIDRs: [],
      strictARP: false,
      tcpTimeout: 0,
      tcpFinTimeout: 0,
      udpTimeout: 0,
    },
    nftables: { masqueradeBit: 14, masqueradeAll: false, syncPeriod: 30 * SECOND, minSyncPeriod: SECOND },
    winkernel: {
      networkName: '',
      sourceVip: '',
      enableDSR: false,
      rootHnsEndpointName: '',
      forwardHealthCheckVip: false,
    },
    detectLocalMode: '',
    detectLocal: { bridgeInterface: '', interfaceNamePrefix: '' },
    clusterCIDR: '',
    nodePortAddresses: [],
    oomScoreAdj: -999,
    conntrack: {
      maxPerCore: 32_768,
      min: 131_072,
      tcpEstablishedTimeout: 24 * HOUR,
      tcpCloseWaitTimeout: HOUR,
      tcpBeLiberal: false,
      udpTimeout: 0,
      udpStreamTimeout: 0,
    },
    configSyncPeriod: 900 * SECOND,
    portRange: '',
    windowsRunAsService: false,
  };
}

/** How a field is written. */
export type FieldKind = 'string' | 'bool' | 'int' | 'float' | 'duration' | 'strings' | 'gates';

/** Fields by path; what is not here is not a field. Everything else follows from the default's type. */
const DURATIONS: ReadonlySet<string> = new Set([
  'iptables.syncPeriod',
  'iptables.minSyncPeriod',
  'ipvs.syncPeriod',
  'ipvs.minSyncPeriod',
  'ipvs.tcpTimeout',
  'ipvs.tcpFinTimeout',
  'ipvs.udpTimeout',
  'nftables.syncPeriod',
  'nftables.minSyncPeriod',
  'conntrack.tcpEstablishedTimeout',
  'conntrack.tcpCloseWaitTimeout',
  'conntrack.udpTimeout',
  'conntrack.udpStreamTimeout',
  'configSyncPeriod',
]);

/** The kind of every field, by path. */
export const FIELDS: ReadonlyMap<string, FieldKind> = fieldsOf(defaultConfiguration(), '');

function fieldsOf(value: object, prefix: string): Map<string, FieldKind> {
  const out = new Map<string, FieldKind>();
  for (const [name, content] of Object.entries(value) as [string, unknown][]) {
    const path = `${prefix}${name}`;
    if (path === 'featureGates') out.set(path, 'gates');
    else if (DURATIONS.has(path)) out.set(path, 'duration');
    else if (Array.isArray(content)) out.set(path, 'strings');
    else if (typeof content === 'object')
      for (const [p, kind] of fieldsOf(content as object, `${path}.`)) out.set(p, kind);
    else if (typeof content === 'number') out.set(path, path === 'clientConnection.qps' ? 'float' : 'int');
    else out.set(path, typeof content === 'boolean' ? 'bool' : 'string');
  }
  return out;
}

/** Sets a field by its path. */
export function setField(config: KubeProxyConfiguration, path: string, value: unknown): void {
  const parts = path.split('.');
  let at = config as unknown as Record<string, unknown>;
  for (const part of parts.slice(0, -1)) at = at[part] as Record<string, unknown>;
  at[parts.at(-1) as string] = value;
}

export function getField(config: KubeProxyConfiguration, path: string): unknown {
  let at: unknown = config;
  for (const part of path.split('.')) at = (at as Record<string, unknown>)[part];
  return at;
}
