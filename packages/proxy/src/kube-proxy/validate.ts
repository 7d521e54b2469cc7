import { isIP } from 'node:net';
import { parsePrefix } from '@weft/net';
import type { KubeProxyConfiguration } from './configuration.ts';
import { isPortRange } from '../userspace/ports.ts';
import { formatDuration } from './duration.ts';

/** kube-proxy's own, one that it had, and one of ours. */
const MODES = ['iptables', 'ipvs', 'nftables', 'userspace', 'ebpf'];
const LOCAL_MODES = ['ClusterCIDR', 'NodeCIDR', 'BridgeInterface', 'InterfaceNamePrefix'];
const WORDS = ['primary', 'localhost', 'all'];

/** Whether `text` is `IP:PORT`, `[IP]:PORT` or an IP alone. */
function isEndpoint(text: string): boolean {
  const match = /^(?:\[([^\]]+)\]|([^:]*)):(\d+)$/.exec(text);
  if (match === null) return false;
  return isIP(match[1] ?? match[2] ?? '') !== 0 && Number(match[3]) >= 1 && Number(match[3]) <= 65535;
}

/** What is wrong with a configuration, field by field, in Kubernetes' words; empty when nothing is. */
export function validate(config: KubeProxyConfiguration): string[] {
  const errors: string[] = [];
  const root = 'KubeProxyConfiguration';
  const invalid = (path: string, value: unknown, why: string): void => {
    errors.push(`${root}.${path}: Invalid value: ${JSON.stringify(value)}: ${why}`);
  };
  if (config.mode !== '' && !MODES.includes(config.mode)) {
    errors.push(
      `${root}.mode: Unsupported value: ${JSON.stringify(config.mode)}: supported values: ${MODES.map((m) => `"${m}"`).join(', ')}`,
    );
  }
  for (const [path, period] of [
    ['iptables', config.iptables],
    ['nftables', config.nftables],
    ['ipvs', config.ipvs],
  ] as const) {
    if (period.syncPeriod <= 0)
      invalid(`${path}.syncPeriod`, formatDuration(period.syncPeriod), 'must be greater than 0');
    if (period.minSyncPeriod < 0)
      invalid(`${path}.minSyncPeriod`, formatDuration(period.minSyncPeriod), 'must be greater than or equal to 0');
    if (period.minSyncPeriod > period.syncPeriod)
      invalid(
        `${path}.syncPeriod`,
        formatDuration(period.syncPeriod),
        `must be greater than or equal to ${root}.${path}.minSyncPeriod`,
      );
  }
  for (const path of ['iptables', 'nftables'] as const) {
    const bit = config[path].masqueradeBit;
    if (bit < 0 || bit > 31) invalid(`${path}.masqueradeBit`, bit, 'must be within the range [0, 31]');
  }
  if (isIP(config.bindAddress) === 0)
    invalid('bindAddress', config.bindAddress, 'not a valid textual representation of an IP address');
  for (const path of ['healthzBindAddress', 'metricsBindAddress'] as const) {
    if (config[path] !== '' && !isEndpoint(config[path])) invalid(path, config[path], 'must be IP:port');
  }
  if (!isPortRange(config.portRange))
    invalid('portRange', config.portRange, 'must be a range of ports (e.g. 8000-9000 or 8000+1000)');
  if (config.oomScoreAdj < -1000 || config.oomScoreAdj > 1000)
    invalid('oomScoreAdj', config.oomScoreAdj, 'must be within the range [-1000, 1000]');
  if (config.configSyncPeriod <= 0)
    invalid('configSyncPeriod', formatDuration(config.configSyncPeriod), 'must be greater than 0');
  if (config.clientConnection.burst < 0)
    invalid('clientConnection.burst', config.clientConnection.burst, 'must be non-negative');
  if (config.clusterCIDR !== '') {
    const blocks = config.clusterCIDR.split(',');
    const parsed = blocks.map((block) => parsePrefix(block.trim()));
    blocks.forEach((block, i) => {
      if (parsed[i] === undefined)
        invalid('clusterCIDR', block, 'must be a valid CIDR block (e.g. 10.100.0.0/16 or fde4:8dba:82e1::/48)');
    });
    if (blocks.length > 2)
      invalid(
        'clusterCIDR',
        config.clusterCIDR,
        'only one CIDR allowed or a valid DualStack CIDR (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)',
      );
    else if (blocks.length === 2 && parsed[0]?.ip.family === parsed[1]?.ip.family)
      invalid(
        'clusterCIDR',
        config.clusterCIDR,
        'must be a valid DualStack CIDR pair (e.g. 10.100.0.0/16,fde4:8dba:82e1::/48)',
      );
  }
  config.nodePortAddresses.forEach((text, i) => {
    if (!WORDS.includes(text) && parsePrefix(text) === undefined)
      invalid(`nodePortAddresses[${i}]`, text, 'must be a valid CIDR block or one of primary, localhost, all');
  });
  validateLocal(config, invalid, errors);
  for (const [name, value] of Object.entries(config.conntrack)) {
    if (typeof value === 'number' && value < 0)
      invalid(`conntrack.${name}`, value, 'must be greater than or equal to 0');
  }
  config.ipvs.excludeCIDRs.forEach((text, i) => {
    if (parsePrefix(text) === undefined) invalid(`ipvs.excludeCIDRs[${i}]`, text, 'must be a valid IP block');
  });
  return errors;
}

function validateLocal(
  config: KubeProxyConfiguration,
  invalid: (path: string, value: unknown, why: string) => void,
  errors: string[],
): void {
  const { detectLocalMode, detectLocal } = config;
  if (detectLocalMode !== '' && !LOCAL_MODES.includes(detectLocalMode)) {
    errors.push(
      `KubeProxyConfiguration.detectLocalMode: Unsupported value: ${JSON.stringify(detectLocalMode)}: supported values: ${LOCAL_MODES.map((m) => `"${m}"`).join(', ')}`,
    );
  }
  if (detectLocalMode === 'BridgeInterface') name('detectLocal.bridgeInterface', detectLocal.bridgeInterface);
  if (detectLocalMode === 'InterfaceNamePrefix')
    name('detectLocal.interfaceNamePrefix', detectLocal.interfaceNamePrefix);
  function name(path: string, value: string): void {
    if (value === '') invalid(path, value, 'must not be empty');
    // IFNAMSIZ holds a final zero.
    else if (value.length > 15) invalid(path, value, 'interface name or prefix is too long: 15 characters at most');
  }
}
