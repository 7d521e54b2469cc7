import type { Family, Prefix } from '@weft/net';
import { WeftError } from '@weft/plan';
import type { PlanBuilder } from './entries.ts';
import type { FabricCondition, FabricNode, FabricPool, NodeBlock } from './nodes.ts';

/** How the fabric is to be built; the same on all nodes. */
export interface FabricConfig {
  /** `vxlan` (default) or another name of `backendNames()`. */
  readonly backend?: string;
  /** The cluster's pod CIDRs: sources that are masqueraded, destinations that are not. Default: those of the nodes. */
  readonly podCidrs?: readonly string[];
  /** Network identifier of vxlan and geneve. Default 4242. */
  readonly vni?: number;
  /** UDP port of the tunnels. Default 8472 (vxlan), 6081 (geneve). */
  readonly port?: number;
  /** Pods' MTU in bytes, when it is not to be computed from the underlay's. */
  readonly mtu?: number;
  /** Plain routes to nodes of the same subnet, tunnels to the rest. Default false. */
  readonly directRouting?: boolean;
  /** Translate the source of what pods send outside the cluster. Default true. */
  readonly masquerade?: boolean;
  /** More destinations that pods reach with their own address. */
  readonly nonMasqueradeCidrs?: readonly string[];
}

export type ResolvedConfig = Required<Omit<FabricConfig, 'mtu' | 'backend'>> & { readonly mtu: number | undefined };

/** VNI of the tunnels: not flannel's 1, Calico's 4096 or Cilium's (metadata mode). */
export const DEFAULT_VNI = 4242;
export const DEFAULT_PORT = 8472;
/** Ports of backends that have another one. */
const PORTS: Readonly<Record<string, number>> = { geneve: 6081 };

/** The interface of this node that carries its InternalIP. */
export interface Underlay {
  readonly name: string;
  /** Bytes. */
  readonly mtu: number;
  /** Subnets of the interface: what it reaches without a router. */
  readonly subnets: readonly Prefix[];
}

/** All a backend may look at. */
export interface CompileContext {
  readonly config: ResolvedConfig;
  readonly self: FabricNode;
  readonly underlay: Underlay;
  readonly pools?: readonly FabricPool[];
  /** Addresses of this node's pods, for backends that follow them. */
  readonly localPods?: readonly string[];
}

/** A peer that can be compiled: it has an address in a family this node has too, and valid pod CIDRs. */
export interface Peer {
  readonly node: FabricNode;
  readonly family: Family;
  /** Its InternalIP in that family. */
  readonly ip: string;
  readonly prefixes: readonly Prefix[];
  /** Blocks of pools and borrowed addresses that lead to it. */
  readonly blocks?: readonly (NodeBlock & { readonly prefix: Prefix })[];
}

/** One way to carry packets between nodes. Pure: it only says what must exist. */
export interface Backend {
  readonly name: string;
  readonly capabilities: {
    /** Works when routers are between the nodes. */
    readonly acrossRouters: boolean;
    /** Carries IPv6 pods over IPv4 nodes, and the reverse. */
    readonly mixedFamilies: boolean;
    /** Link drivers of the kernel that it uses. */
    readonly links: readonly string[];
    /** Wants to know the addresses of this node's pods. */
    readonly followsPods?: boolean;
  };
  /** Bytes of headers it adds to what this node sends. */
  overhead(self: FabricNode): number;
  /** What this node needs whoever its peers are. */
  compileSelf(context: CompileContext, plan: PlanBuilder): void;
  /** What leads to a peer. Returns why that is not possible. */
  compilePeer(context: CompileContext, peer: Peer, plan: PlanBuilder): FabricCondition | undefined;
}

/** Fills in defaults and checks ranges. Throws WeftError naming the field. */
export function resolveConfig(config: FabricConfig): ResolvedConfig {
  const range = (field: 'vni' | 'port' | 'mtu', value: number, low: number, high: number): number => {
    if (Number.isInteger(value) && value >= low && value <= high) return value;
    throw new WeftError({
      code: 'FABRIC_CONFIG_INVALID',
      message: `fabric: ${field}: ${value} is not between ${low} and ${high}`,
    });
  };
  return {
    podCidrs: config.podCidrs ?? [],
    vni: range('vni', config.vni ?? DEFAULT_VNI, 1, 0xffffff),
    port: range('port', config.port ?? PORTS[config.backend ?? ''] ?? DEFAULT_PORT, 1, 65535),
    mtu: config.mtu === undefined ? undefined : range('mtu', config.mtu, 576, 65535),
    directRouting: config.directRouting ?? false,
    masquerade: config.masquerade ?? true,
    nonMasqueradeCidrs: config.nonMasqueradeCidrs ?? [],
  };
}
