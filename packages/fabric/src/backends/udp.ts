import { formatPrefix } from '@weft/net';
import type { Backend, ResolvedConfig } from '../backend.ts';
import type { FabricNode } from '../nodes.ts';
import { podPrefixes } from '../nodes.ts';
import { SEAL_BYTES } from '../overlay/seal.ts';
import { directRoutes, isOnLink, tunnelAddress } from './routing.ts';

const TUN_DEVICE = 'weft.tun';
/** Outer IP 20 or 40, UDP 8. */
const OVERHEAD = { 4: 28, 6: 48 } as const;

const outerOf = (self: FabricNode): 4 | 6 => (self.ip[4] === undefined ? 6 : 4);

function overhead(self: FabricNode, config: ResolvedConfig): number {
  return OVERHEAD[outerOf(self)] + (config.encryptionKeys.length === 0 ? 0 : SEAL_BYTES);
}

/**
 * Packets in UDP by the agent itself, over a tun device: needs no tunnel driver, and can encrypt. While no agent runs,
 * nothing goes between nodes.
 */
export const udp: Backend = {
  name: 'udp',
  capabilities: { acrossRouters: true, mixedFamilies: true, links: ['tun'], needsAgent: true },
  overhead,

  compileSelf({ config, self, underlay }, plan) {
    const local = self.ip[outerOf(self)];
    if (local === undefined) return;
    const mtu = config.mtu ?? underlay.mtu - overhead(self, config);
    plan.add({ type: 'device', kind: 'tun', name: TUN_DEVICE, mtu, local, port: config.port }, 'status.addresses');
    for (const prefix of podPrefixes(self).prefixes) {
      const address = `${tunnelAddress(prefix)}/${prefix.ip.family === 4 ? 32 : 128}`;
      plan.add({ type: 'address', device: TUN_DEVICE, address }, 'spec.podCIDRs');
    }
  },

  compilePeer(context, peer, plan) {
    const { config, self } = context;
    if (config.directRouting && isOnLink(context, peer)) return directRoutes(peer, plan);
    if (peer.family !== outerOf(self)) {
      const message = `${peer.ip} cannot be reached by a tunnel from ${self.ip[outerOf(self)]}`;
      return { node: peer.node.name, reason: 'FamilyMismatch', message };
    }
    const { node, ip: endpoint, prefixes, blocks = [] } = peer;
    const to = prefixes.map((prefix) => ({ prefix, kind: 'Node', name: node.name, field: 'spec.podCIDRs' }));
    for (const { prefix, kind, name, field } of [...to, ...blocks.map((block) => ({ ...block, field: 'spec' }))]) {
      const dst = formatPrefix(prefix);
      const cause = { kind, name, field };
      plan.addFor({ type: 'endpoint', dst, endpoint, port: config.port }, cause);
      plan.addFor({ type: 'route', kind: 'unicast', dst, device: TUN_DEVICE }, cause);
    }
    return undefined;
  },
};
