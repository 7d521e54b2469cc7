import {
  compareIp,
  type Family,
  formatIp,
  formatPrefix,
  type Ip,
  type Prefix,
  parseIp,
  parsePrefix,
  prefixesOverlap,
} from '@weft/net';
import type { Node } from '@weft/kube';

/** Annotation that states a node's tunnel MAC address when it is not the one derived from its name. */
export const VTEP_MAC_ANNOTATION = 'weft.dev/vtep-mac';

/** What the fabric needs to know of a node. */
export interface FabricNode {
  readonly name: string;
  /** First InternalIP per family. */
  readonly ip: { readonly 4?: string; readonly 6?: string };
  readonly podCidrs: readonly string[];
  readonly vtepMac?: string;
  /** RFC 3339; '' when unknown. */
  readonly created: string;
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

/** The earlier node keeps what two nodes claim. */
function isOlder(a: FabricNode, b: FabricNode): boolean {
  return a.created === b.created ? a.name < b.name : a.created < b.created;
}

interface Claims {
  readonly node: FabricNode;
  readonly prefixes: readonly Prefix[];
  readonly ips: readonly Ip[];
}

function claimsOf(node: FabricNode): Claims {
  const prefixes = node.podCidrs.map(parsePrefix).filter((p): p is Prefix => p !== undefined);
  const ips = Object.values(node.ip)
    .map((text) => parseIp(text))
    .filter((ip): ip is Ip => ip !== undefined);
  return { node, prefixes, ips };
}

/** All nodes, and who may have what when they disagree. */
export class NodeTable {
  readonly #claims = new Map<string, Claims>();

  get(name: string): FabricNode | undefined {
    return this.#claims.get(name)?.node;
  }

  names(): readonly string[] {
    return [...this.#claims.keys()];
  }

  /** Stores a node. Returns the nodes whose compilation may come out differently, itself included. */
  set(node: FabricNode): readonly string[] {
    const before = this.#claims.get(node.name);
    const after = claimsOf(node);
    const touched = new Set([node.name, ...this.#rivals(after), ...(before === undefined ? [] : this.#rivals(before))]);
    this.#claims.set(node.name, after);
    return [...touched];
  }

  delete(name: string): readonly string[] {
    const before = this.#claims.get(name);
    if (before === undefined) return [];
    this.#claims.delete(name);
    return [name, ...this.#rivals(before)];
  }

  /** Why an older node's claim keeps this one from being used; undefined when it may be. */
  conflict(node: FabricNode): FabricCondition | undefined {
    const mine = claimsOf(node);
    for (const { node: other, prefixes, ips } of this.#claims.values()) {
      if (other.name === node.name || isOlder(node, other)) continue;
      for (const prefix of mine.prefixes) {
        const theirs = prefixes.find((p) => prefixesOverlap(p, prefix));
        if (theirs === undefined) continue;
        const message = `pod CIDR ${formatPrefix(prefix)} overlaps ${formatPrefix(theirs)} of node ${other.name}`;
        return { node: node.name, reason: 'PodCIDROverlap', message };
      }
      for (const ip of mine.ips) {
        if (!ips.some((theirs) => compareIp(theirs, ip) === 0)) continue;
        const message = `InternalIP ${formatIp(ip)} is also that of node ${other.name}`;
        return { node: node.name, reason: 'InternalIPConflict', message };
      }
    }
    return undefined;
  }

  #rivals(claims: Claims): string[] {
    const rivals: string[] = [];
    for (const { node, prefixes, ips } of this.#claims.values()) {
      if (node.name === claims.node.name) continue;
      const contested =
        claims.prefixes.some((p) => prefixes.some((q) => prefixesOverlap(p, q))) ||
        claims.ips.some((p) => ips.some((q) => compareIp(p, q) === 0));
      if (contested) rivals.push(node.name);
    }
    return rivals;
  }
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
