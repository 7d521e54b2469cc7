import { type Family, formatIp, type Prefix, parseIp, parsePrefix } from '@weft/net';
import type { Node } from '@weft/kube';

/** Annotation that states a node's tunnel MAC address when it is not the one derived from its name. */
export const VTEP_MAC_ANNOTATION = 'weft.dev/vtep-mac';

/** What the fabric needs to know of a node. */
export interface FabricNode {
  readonly name: string;
  /** First InternalIP per family. */
  readonly ip: { readonly 4?: string; readonly 6?: string };
  readonly podCidrs: readonly string[];
  /** Blocks of pools that the node has, and single addresses that it has borrowed from other nodes. */
  readonly blocks?: readonly NodeBlock[];
  readonly vtepMac?: string;
  /** RFC 3339; '' when unknown. */
  readonly created: string;
}

/** A block of pod addresses that leads to a node. */
export interface NodeBlock {
  readonly cidr: string;
  /** The object that says so. */
  readonly kind: 'IPAMBlock' | 'AddressLoan';
  readonly name: string;
}

/** An address pool, as far as translation is concerned. */
export interface FabricPool {
  readonly name: string;
  readonly cidr: string;
  /** What its pods send outside of all pools gets the address of their node. */
  readonly natOutgoing: boolean;
}

/** Where blocks and pools come from, when there are any. */
export interface BlockSource {
  /** Resolves when all that exist are known: what the kernel has of others is then nobody's. */
  readonly synced: Promise<void>;
  /** Blocks of a node. */
  blocksOf(node: string): readonly NodeBlock[];
  pools(): readonly FabricPool[];
  /** Calls back with the names of the nodes whose blocks changed; without names when pools did. Returns the way to stop. */
  on(changed: (nodes: readonly string[] | undefined) => void): () => void;
}

/** Something about a node that keeps its pods from being reached, for its status and for the log. */
export interface FabricCondition {
  readonly node: string;
  readonly reason:
    | 'NoPodCIDR'
    | 'NoInternalIP'
    | 'InvalidPodCIDR'
    | 'PodCIDROverlap'
    | 'InternalIPConflict'
    | 'NotOnLink'
    | 'FamilyMismatch'
    | 'UnderlayUnknown';
  readonly message: string;
}

/** Where node objects come from; an informer is one. */
export interface NodeSource {
  /** Resolves when all nodes that exist have been announced. */
  readonly synced: Promise<void>;
  /** Announces what is there as `add`, then every change. Returns the way to stop. */
  on(handlers: { add?(node: Node): void; update?(old: Node, node: Node): void; delete?(node: Node): void }): () => void;
}

/** Reads a Node object; what cannot be used is left out. */
export function fabricNode(node: Node): FabricNode {
  const ip: { 4?: string; 6?: string } = {};
  for (const { type, address } of node.status?.addresses ?? []) {
    const parsed = type === 'InternalIP' ? parseIp(address) : undefined;
    if (parsed !== undefined) ip[parsed.family] ??= formatIp(parsed);
  }
  const cidrs = node.spec?.podCIDRs ?? (node.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
  const mac = node.metadata.annotations?.[VTEP_MAC_ANNOTATION]?.toLowerCase();
  return {
    name: node.metadata.name,
    ip,
    podCidrs: cidrs.filter((cidr) => cidr !== ''),
    ...(mac === undefined || !/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/.test(mac) ? {} : { vtepMac: mac }),
    created: node.metadata.creationTimestamp ?? '',
  };
}

/** Pod CIDRs of a node by family; texts that are none are reported. */
export function podPrefixes(node: FabricNode): {
  readonly prefixes: readonly Prefix[];
  readonly invalid: readonly string[];
} {
  const prefixes: Prefix[] = [];
  const invalid: string[] = [];
  for (const text of node.podCidrs) {
    const prefix = parsePrefix(text);
    if (prefix === undefined) invalid.push(text);
    else prefixes.push(prefix);
  }
  return { prefixes, invalid };
}

/** The address family in which two nodes can reach each other; IPv4 when both have it. */
export function commonFamily(a: FabricNode, b: FabricNode): Family | undefined {
  if (a.ip[4] !== undefined && b.ip[4] !== undefined) return 4;
  return a.ip[6] !== undefined && b.ip[6] !== undefined ? 6 : undefined;
}
