import { createHash } from 'node:crypto';
import { type Family, formatIp, formatPrefix, type Prefix } from '@weft/net';
import type { Backend, CompileContext, Peer } from '../backend.ts';
import type { FabricNode } from '../nodes.ts';
import { podPrefixes } from '../nodes.ts';
import { directRoutes, isOnLink, tunnelAddress } from './routing.ts';

/** Outer Ethernet 14, IP 20 or 40, UDP 8, VXLAN 8 (RFC 7348). */
const OVERHEAD = { 4: 50, 6: 70 } as const;

/**
 * MAC address of a node's tunnel end: the same wherever and whenever it is computed, so that no node has to tell the
 * others, and a device that is made anew is still known to them.
 */
export function vtepMac(node: FabricNode, vni: number): string {
  if (node.vtepMac !== undefined) return node.vtepMac;
  const bytes = createHash('sha256').update(`weft vtep ${vni} ${node.name}`).digest().subarray(0, 6);
  bytes[0] = ((bytes[0] as number) & 0xfc) | 0x02;
  return bytes.toString('hex').replace(/(..)(?=.)/g, '$1:');
}

export function deviceName(vni: number): string {
  return `weft.${vni}`;
}

function mtuOf({ config, underlay }: CompileContext, family: Family): number {
  return config.mtu ?? underlay.mtu - OVERHEAD[family];
}

/** The next hop of a block whose node has no pod CIDR: its own address, or else the block's first. */
function nextHopOf(peer: Peer, prefix: Prefix): string {
  return peer.node.ip[prefix.ip.family] ?? formatIp(prefix.ip);
}

/**
 * Tunnels in UDP: one device, and per peer a route by the peer's tunnel address, its neighbour entry and its
 * forwarding entry. Nothing is learned or asked for on the wire.
 */
export const vxlan: Backend = {
  name: 'vxlan',
  capabilities: { acrossRouters: true, mixedFamilies: true, links: ['vxlan'] },
  overhead: (self) => OVERHEAD[self.ip[4] === undefined ? 6 : 4],

  compileSelf(context, plan) {
    const { config, self } = context;
    const local = self.ip[4] ?? self.ip[6];
    if (local === undefined) return;
    const device = deviceName(config.vni);
    const mtu = mtuOf(context, self.ip[4] === undefined ? 6 : 4);
    const mac = vtepMac(self, config.vni);
    const { vni, port } = config;
    plan.add({ type: 'device', kind: 'vxlan', name: device, vni, port, local, mac, mtu }, 'status.addresses');
    for (const prefix of podPrefixes(self).prefixes) {
      const bits = prefix.ip.family === 4 ? 32 : 128;
      plan.add({ type: 'address', device, address: `${tunnelAddress(prefix)}/${bits}` }, 'spec.podCIDRs');
    }
  },

  compilePeer(context, peer, plan) {
    const { config } = context;
    if (config.directRouting && isOnLink(context, peer)) return directRoutes(peer, plan);
    // The device sends from one address, so it reaches peers of that family only.
    if (peer.family !== (context.self.ip[4] === undefined ? 6 : 4)) {
      const message = `${peer.ip} cannot be reached by a tunnel from ${context.self.ip[4] ?? context.self.ip[6]}`;
      return { node: peer.node.name, reason: 'FamilyMismatch', message };
    }
    const device = deviceName(config.vni);
    const mac = vtepMac(peer.node, config.vni);
    plan.add({ type: 'fdb', device, mac, dst: peer.ip }, 'status.addresses');
    for (const prefix of peer.prefixes) {
      const via = tunnelAddress(prefix);
      plan.add({ type: 'neighbour', device, address: via, mac }, 'spec.podCIDRs');
      plan.add({ type: 'route', kind: 'unicast', dst: formatPrefix(prefix), via, device }, 'spec.podCIDRs');
    }
    for (const { prefix, kind, name } of peer.blocks ?? []) {
      // A node without a pod CIDR has no tunnel address; any will do that only this device knows.
      const own = peer.prefixes.find((p) => p.ip.family === prefix.ip.family);
      const via = own === undefined ? nextHopOf(peer, prefix) : tunnelAddress(own);
      const cause = { kind, name, field: 'spec' };
      if (own === undefined) plan.addFor({ type: 'neighbour', device, address: via, mac }, cause);
      plan.addFor({ type: 'route', kind: 'unicast', dst: formatPrefix(prefix), via, device }, cause);
    }
    return undefined;
  },
};
