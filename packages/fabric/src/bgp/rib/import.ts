import { applyFilter } from './filter.ts';
import type { RibPeer, RibRoute, RibSelf } from './types.ts';

/** Why a route of a peer must not be used whatever the filters say: it would lead in a circle. */
function loops(self: RibSelf, peer: RibPeer, route: RibRoute): string | undefined {
  const { attributes, nextHop, family } = route;
  const own = attributes.asPath.reduce((sum, { ases }) => sum + ases.filter((as) => as === self.as).length, 0);
  if (own > peer.allowOwnAs) return `AS ${self.as} is in its path`;
  if (attributes.originatorId === self.routerId) return 'we are its originator';
  if (self.clusterId !== undefined && attributes.clusterList?.includes(self.clusterId) === true)
    return `cluster ${self.clusterId} has reflected it`;
  if (nextHop === undefined || nextHop === '0.0.0.0' || nextHop === '::') return 'it has no next hop';
  if (nextHop === peer.localAddress[family]) return 'its next hop is our own address';
  return undefined;
}

/** A route of a peer as it takes part in the decision: attributes after the import filter, or why it does not. Pure. */
export function importRoute(self: RibSelf, peer: RibPeer, raw: RibRoute): RibRoute {
  const loop = loops(self, peer, raw);
  if (loop !== undefined) return { ...raw, rejected: loop };
  const attributes = applyFilter(peer.import, { prefix: raw.prefix, attributes: raw.attributes, remote: true });
  if (attributes === undefined) return { ...raw, rejected: 'an import filter rejects it' };
  return attributes === raw.attributes ? raw : { ...raw, attributes };
}
