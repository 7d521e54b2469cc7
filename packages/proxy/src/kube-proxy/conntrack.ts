import { writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { type NetNs, readSysctl, writeSysctl } from '@weft/kernel';
import type { Logger } from '@weft/plan';
import type { KubeProxyConfiguration } from './configuration.ts';

const HASHSIZE = '/sys/module/nf_conntrack/parameters/hashsize';

/** Settings of the kernel's connection table that the configuration asks for, by sysctl. Seconds, or counts. */
export function conntrackSysctls(
  config: KubeProxyConfiguration['conntrack'],
  cores = availableParallelism(),
): ReadonlyMap<string, number> {
  const out = new Map<string, number>();
  const max = config.maxPerCore > 0 ? Math.max(config.maxPerCore * cores, config.min) : 0;
  const set = (name: string, value: number): void => {
    if (value > 0) out.set(`net.netfilter.nf_conntrack_${name}`, value);
  };
  if (max > 0) out.set('net.netfilter.nf_conntrack_max', max);
  set('tcp_timeout_established', Math.floor(config.tcpEstablishedTimeout / 1000));
  set('tcp_timeout_close_wait', Math.floor(config.tcpCloseWaitTimeout / 1000));
  set('udp_timeout', Math.floor(config.udpTimeout / 1000));
  set('udp_timeout_stream', Math.floor(config.udpStreamTimeout / 1000));
  if (config.tcpBeLiberal) out.set('net.netfilter.nf_conntrack_tcp_be_liberal', 1);
  return out;
}

/** Writes them. A setting that cannot be written (a container, a user namespace) is reported and left as it is. */
export function tuneConntrack(config: KubeProxyConfiguration['conntrack'], log: Logger, ns?: NetNs): void {
  for (const [key, value] of conntrackSysctls(config)) {
    try {
      if (Number(readSysctl(key, ns)) === value) continue;
      log.info('Set sysctl', { sysctl: key.replaceAll('.', '/'), value });
      writeSysctl(key, String(value), ns);
      // The table's size is the machine's, and a quarter of its entries a good number of buckets.
      if (key.endsWith('_max')) writeFileSync(HASHSIZE, String(Math.floor(value / 4)));
    } catch (error) {
      log.warn('cannot set a sysctl of the connection table', { sysctl: key, value, error });
    }
  }
}
