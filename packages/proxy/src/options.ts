import { type Family, type Prefix, parsePrefix } from '@weft/net';
import { WeftError } from '@weft/plan';
import type { LayoutConfig, LocalDetector, NodePortScope } from './nftables/layout.ts';

/** Where NodePorts answer: blocks of addresses, or kube-proxy's words `primary` and `all`. */
export type NodePortAddresses = readonly string[];

export interface TableOptions {
  /** Pod blocks of the cluster; traffic from elsewhere to a ClusterIP is masqueraded. None: nothing is told apart. */
  readonly clusterCidrs: readonly string[];
  /** Service blocks; their unallocated addresses are dropped. */
  readonly serviceCidrs: readonly string[];
  /** Default `['primary']`, as kube-proxy in nftables mode. */
  readonly nodePortAddresses?: NodePortAddresses;
  /** Masquerade everything that goes to a ClusterIP. */
  readonly masqueradeAll?: boolean;
  /** Bit number of the packet mark. Default 14, as kube-proxy. */
  readonly masqueradeBit?: number;
  /** Instead of `clusterCidrs`: pods are what comes in through this bridge, or through interfaces of this prefix. */
  readonly detector?: Exclude<LocalDetector, { readonly by: 'cidr' | 'none' }>;
}

function blocks(field: string, texts: readonly string[]): Prefix[] {
  return texts.map((text) => {
    const prefix = parsePrefix(text);
    if (prefix === undefined) {
      throw new WeftError({
        code: 'PROXY_BAD_CIDR',
        message: `${field}: ${JSON.stringify(text)} is not a CIDR block`,
        hint: 'write it as 10.96.0.0/12 or fd00:10:96::/112',
      });
    }
    return prefix;
  });
}

function nodePortScope(texts: NodePortAddresses): NodePortScope {
  if (texts.includes('localhost')) {
    throw new WeftError({
      code: 'PROXY_LOCALHOST_NODEPORTS',
      message: 'nodePortAddresses: the nftables data plane has no NodePorts on localhost',
      hint: 'use primary, all or CIDR blocks',
    });
  }
  const words = new Set(['primary', 'all']);
  return {
    all: texts.includes('all') || texts.includes('0.0.0.0/0') || texts.includes('::/0'),
    primary: texts.includes('primary'),
    cidrs: blocks(
      'nodePortAddresses',
      texts.filter((t) => !words.has(t) && t !== '0.0.0.0/0' && t !== '::/0'),
    ),
  };
}

/** Families that the blocks speak of; IPv4 when there are none. */
export function familiesOf(options: Pick<TableOptions, 'clusterCidrs' | 'serviceCidrs'>): Family[] {
  const all = [...blocks('clusterCidrs', options.clusterCidrs), ...blocks('serviceCidrs', options.serviceCidrs)];
  const families = new Set(all.map((prefix) => prefix.ip.family));
  return families.size === 0 ? [4] : [...families].sort((a, b) => a - b);
}

/** One table configuration per family. Throws WeftError that names the field at fault. */
export function layoutConfigs(options: TableOptions): LayoutConfig[] {
  const pods = blocks('clusterCidrs', options.clusterCidrs);
  const services = blocks('serviceCidrs', options.serviceCidrs);
  const nodePorts = nodePortScope(options.nodePortAddresses ?? ['primary']);
  return familiesOf(options).map((family) => {
    const mine = (prefix: Prefix): boolean => prefix.ip.family === family;
    const cidrs = pods.filter(mine);
    return {
      family,
      detector: options.detector ?? (cidrs.length > 0 ? { by: 'cidr', cidrs } : { by: 'none' }),
      serviceCidrs: services.filter(mine),
      masqueradeAll: options.masqueradeAll ?? false,
      masqueradeMark: 1 << (options.masqueradeBit ?? 14),
      nodePorts: { ...nodePorts, cidrs: nodePorts.cidrs.filter(mine) },
    };
  });
}
