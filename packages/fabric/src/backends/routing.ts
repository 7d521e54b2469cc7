import { formatIp, formatPrefix, parseIp, prefixContains } from '@weft/net';
import type { CompileContext, Peer } from '../backend.ts';
import type { PlanBuilder } from '../entries.ts';
import type { FabricCondition } from '../nodes.ts';

/** True when the peer is in a subnet of the underlay, so that no router is between. */
export function isOnLink(context: CompileContext, peer: Peer): boolean {
  const ip = parseIp(peer.ip);
  return ip !== undefined && context.underlay.subnets.some((subnet) => prefixContains(subnet, ip));
}

/** Plain routes to a peer's pod CIDRs by its own address. Returns why one of them cannot be. */
export function directRoutes(peer: Peer, plan: PlanBuilder): FabricCondition | undefined {
  let condition: FabricCondition | undefined;
  for (const prefix of peer.prefixes) {
    const dst = formatPrefix(prefix);
    const via = peer.node.ip[prefix.ip.family];
    if (via === undefined) {
      const message = `pods in ${dst} cannot be routed: the node has no IPv${prefix.ip.family} InternalIP`;
      condition = { node: peer.node.name, reason: 'FamilyMismatch', message };
    } else plan.add({ type: 'route', kind: 'unicast', dst, via }, 'spec.podCIDRs');
  }
  for (const { prefix, kind, name } of peer.blocks ?? []) {
    const via = peer.node.ip[prefix.ip.family];
    const dst = formatPrefix(prefix);
    if (via !== undefined) plan.addFor({ type: 'route', kind: 'unicast', dst, via }, { kind, name, field: 'spec' });
    else {
      const message = `pods in ${dst} cannot be routed: the node has no IPv${prefix.ip.family} InternalIP`;
      condition = { node: peer.node.name, reason: 'FamilyMismatch', message };
    }
  }
  return condition;
}

/** `eth0 (10.1.0.0/24)`, for messages. */
export function describeUnderlay({ underlay }: CompileContext): string {
  return `${underlay.name} (${underlay.subnets.map(formatPrefix).join(', ')})`;
}

/** The tunnel address of a node for a pod CIDR: its network address, which no pod gets. */
export function tunnelAddress(prefix: Peer['prefixes'][number]): string {
  return formatIp(prefix.ip);
}
