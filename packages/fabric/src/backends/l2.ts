import { formatPrefix, parseIp, prefixContains } from '@weft/net';
import type { Backend } from '../backend.ts';
import { podPrefixes } from '../nodes.ts';
import { describeUnderlay, isOnLink } from './routing.ts';

/**
 * Pods on the nodes' own segment: every node asks for others' pods by ARP or NDP, and the pod's node answers in its
 * place, for each pod that it has and no other address. Whoever is on the segment reaches pods the same way.
 */
export const l2: Backend = {
  name: 'l2',
  capabilities: { acrossRouters: false, mixedFamilies: false, links: [], followsPods: true },
  overhead: () => 0,

  compileSelf({ self, underlay, localPods = [] }, plan) {
    const blocks = (self.blocks ?? []).map(({ cidr }) => cidr);
    const own = podPrefixes({ ...self, podCidrs: [...self.podCidrs, ...blocks] }).prefixes;
    for (const address of localPods) {
      const ip = parseIp(address);
      if (ip === undefined || !own.some((prefix) => prefixContains(prefix, ip))) continue;
      plan.add({ type: 'proxy', device: underlay.name, address }, 'spec.podCIDRs');
    }
  },

  compilePeer(context, peer, plan) {
    if (!isOnLink(context, peer)) {
      const message = `${peer.ip} is behind a router: it is in no subnet of ${describeUnderlay(context)}, and nobody there hears who asks for its pods`;
      return { node: peer.node.name, reason: 'NotOnLink', message };
    }
    const device = context.underlay.name;
    for (const prefix of peer.prefixes)
      plan.add({ type: 'route', kind: 'unicast', dst: formatPrefix(prefix), device }, 'spec.podCIDRs');
    for (const { prefix, kind, name } of peer.blocks ?? [])
      plan.addFor({ type: 'route', kind: 'unicast', dst: formatPrefix(prefix), device }, { kind, name, field: 'spec' });
    return undefined;
  },
};
