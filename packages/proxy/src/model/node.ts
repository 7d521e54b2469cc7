import type { Node } from '@weft/kube';
import { type Packed, packAddress } from './packed.ts';

/** What the proxy needs to know of its own Node. */
export interface NodeFacts {
  readonly name: string;
  /** topology.kubernetes.io/zone, '' when unknown. */
  readonly zone: string;
  /** Packed addresses of the node, InternalIPs before ExternalIPs. */
  readonly addresses: readonly Packed[];
  /** False when the node is going: load balancers should send nothing here (KEP-3836). */
  readonly eligible: boolean;
}

export function unknownNode(name: string): NodeFacts {
  return { name, zone: '', addresses: [], eligible: true };
}

/** Reads the facts from a Node object. */
export function nodeFacts(node: Node): NodeFacts {
  const of = (type: string): Packed[] =>
    (node.status?.addresses ?? [])
      .filter((a) => a.type === type)
      .map((a) => packAddress(a.address) ?? '')
      .filter((a) => a !== '');
  return {
    name: node.metadata.name,
    zone: node.metadata.labels?.['topology.kubernetes.io/zone'] ?? '',
    addresses: [...of('InternalIP'), ...of('ExternalIP')],
    eligible:
      node.metadata.deletionTimestamp === undefined &&
      !(node.spec?.taints ?? []).some((t) => t.key === 'ToBeDeletedByClusterAutoscaler'),
  };
}

/** The first address of each family: what `nodePortAddresses: primary` means. */
export function primaryAddresses(node: NodeFacts): Packed[] {
  const first = (width: number): Packed[] => node.addresses.filter((a) => a.length === width).slice(0, 1);
  return [...first(4), ...first(16)];
}
