import { type Family, type Prefix, parsePrefix } from '@weft/net';
import { WeftError } from '@weft/plan';
import type { FamilyConfig, LocalDetector, NodePortScope } from './config.ts';
import type { IpvsSettings } from './ipvs/compile.ts';
import type { UserspaceSettings } from './userspace/dataplane.ts';

/** Where NodePorts answer: blocks of addresses, or kube-proxy's words `primary` and `all`. */
export type NodePortAddresses = readonly string[];

export interface TableOptions {
  /** Families to serve. Default: those that the blocks speak of, IPv4 when there are none. */
  readonly families?: readonly Family[];
  /** Pod blocks of the cluster; traffic from elsewhere to a ClusterIP is masqueraded. None: nothing is told apart. */
  readonly clusterCidrs: readonly string[];
  /** Service blocks; their unallocated addresses are dropped. */
  readonly serviceCidrs: readonly string[];
  /** Default as kube-proxy's: `['primary']` in nftables and ebpf mode, `['all']` in the others. */
  readonly nodePortAddresses?: NodePortAddresses;
  /** iptables and userspace mode: NodePorts answer on 127.0.0.1 where `nodePortAddresses` holds it. Default true. */
  readonly localhostNodePorts?: boolean;
  /** Masquerade everything that goes to a ClusterIP. */
  readonly masqueradeAll?: boolean;
  /** Bit number of the packet mark. Default 14, as kube-proxy. */
  readonly masqueradeBit?: number;
  /** ipvs mode: its own settings. */
  readonly ipvs?: IpvsSettings;
  /** userspace mode: its own settings. */
  readonly userspace?: UserspaceSettings;
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

/** Data planes as kube-proxy names its modes; ebpf is ours. */
export type Mode = 'nftables' | 'iptables' | 'ipvs' | 'userspace' | 'ebpf';

export const MODES: readonly Mode[] = ['nftables', 'iptables', 'ipvs', 'userspace', 'ebpf'];

/** Modes in which packets go by the table of nftables. */
export function usesNftables(mode: Mode): boolean {
  return mode === 'nftables' || mode === 'ebpf';
}

/** Modes in which NodePorts can answer on 127.0.0.1. */
const LOCALHOST: readonly Mode[] = ['iptables', 'userspace'];

const WORDS = new Set(['primary', 'localhost', 'all', '0.0.0.0/0', '::/0']);
const LOOPBACK = /^127\./;

function nodePortScope(options: TableOptions, mode: Mode): NodePortScope {
  const texts = options.nodePortAddresses ?? [usesNftables(mode) ? 'primary' : 'all'];
  if (texts.includes('localhost') && !LOCALHOST.includes(mode)) {
    throw new WeftError({
      code: 'PROXY_LOCALHOST_NODEPORTS',
      message: `nodePortAddresses: the ${mode} data plane has no NodePorts on localhost`,
      hint: 'use primary, all or CIDR blocks',
    });
  }
  const all = texts.includes('all') || texts.includes('0.0.0.0/0') || texts.includes('::/0');
  const loopback = all || texts.includes('localhost') || texts.some((text) => LOOPBACK.test(text));
  return {
    all,
    primary: texts.includes('primary'),
    cidrs: blocks(
      'nodePortAddresses',
      texts.filter((text) => !WORDS.has(text)),
    ),
    ...(LOCALHOST.includes(mode) && loopback && options.localhostNodePorts !== false ? { localhost: true } : {}),
  };
}

/** Families that are served. */
export function familiesOf(options: Pick<TableOptions, 'clusterCidrs' | 'serviceCidrs' | 'families'>): Family[] {
  if (options.families !== undefined) return [...options.families].sort((a, b) => a - b);
  const all = [...blocks('clusterCidrs', options.clusterCidrs), ...blocks('serviceCidrs', options.serviceCidrs)];
  const families = new Set(all.map((prefix) => prefix.ip.family));
  return families.size === 0 ? [4] : [...families].sort((a, b) => a - b);
}

/** One configuration per family. Throws WeftError that names the field at fault. */
export function familyConfigs(options: TableOptions, mode: Mode = 'nftables'): FamilyConfig[] {
  const pods = blocks('clusterCidrs', options.clusterCidrs);
  const services = blocks('serviceCidrs', options.serviceCidrs);
  const nodePorts = nodePortScope(options, mode);
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
