import type { Backend } from '../backend.ts';
import { describeUnderlay, directRoutes, isOnLink } from './routing.ts';

/** Plain routes: every node is the gateway of its pods. Needs all nodes in one subnet; costs nothing per packet. */
export const hostGw: Backend = {
  name: 'host-gw',
  capabilities: { acrossRouters: false, mixedFamilies: false, links: [] },
  overhead: () => 0,
  compileSelf: () => {},
  compilePeer(context, peer, plan) {
    if (isOnLink(context, peer)) return directRoutes(peer, plan);
    return {
      node: peer.node.name,
      reason: 'NotOnLink',
      message: `${peer.ip} is behind a router: it is in no subnet of ${describeUnderlay(context)}; backend host-gw needs all nodes in one subnet, vxlan does not`,
    };
  },
};
