import { CURRENT_VERSION } from './spec/versions.ts';
import { parsePrefix } from '@weft/net';
import { rangeOfSubnet } from './ipam/range.ts';
import type { WiringMode } from './plugins/config.ts';

export interface ConflistOptions {
  /** MTU of pod interfaces, bytes. */
  readonly mtu: number;
  /** The node's pod CIDRs, one per family. */
  readonly podCidrs: readonly string[];
  readonly agentSocket: string;
  readonly mode?: WiringMode;
  /** Network name. Default `weft`. */
  readonly name?: string;
}

/**
 * The network of a node as a conflist object: the weft plugin with addresses of the node's pod CIDRs, then portmap.
 * Write it as JSON to the runtime's configuration directory, last of all. Throws CniError for CIDRs that cannot work.
 */
export function defaultConflist(options: ConflistOptions): Readonly<Record<string, unknown>> {
  for (const cidr of options.podCidrs) rangeOfSubnet(cidr, { path: 'podCIDR' });
  const v4First = [...options.podCidrs].sort(
    (a, b) => (parsePrefix(a)?.ip.family ?? 4) - (parsePrefix(b)?.ip.family ?? 4),
  );
  return {
    cniVersion: CURRENT_VERSION,
    cniVersions: ['0.4.0', '1.0.0', CURRENT_VERSION],
    name: options.name ?? 'weft',
    plugins: [
      {
        type: 'weft',
        mode: options.mode ?? 'ptp',
        mtu: options.mtu,
        agentSocket: options.agentSocket,
        ipam: { type: 'weft', ...(v4First.length === 0 ? {} : { ranges: v4First.map((subnet) => [{ subnet }]) }) },
        capabilities: { ips: true, mac: true, 'io.kubernetes.cri.pod-annotations': true },
      },
      { type: 'portmap', agentSocket: options.agentSocket, capabilities: { portMappings: true } },
    ],
  };
}
