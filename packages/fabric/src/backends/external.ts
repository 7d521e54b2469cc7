import { type Family, formatIp, formatPrefix, type Prefix } from '@weft/net';
import type { Backend, CompileContext, Peer } from '../backend.ts';
import type { PlanBuilder, TunnelDevice, TunnelEncap } from '../entries.ts';
import type { FabricCondition, FabricNode } from '../nodes.ts';
import { podPrefixes } from '../nodes.ts';
import { directRoutes, isOnLink, tunnelAddress } from './routing.ts';
import { vtepMac } from './vxlan.ts';

/** What tells one of these tunnels from another. */
interface Technique {
  readonly name: string;
  /** Kernel device by the family of the outer header. */
  readonly kinds: Readonly<Record<Family, TunnelDevice['kind']>>;
  /** Headers, bytes. */
  readonly overhead: Readonly<Record<Family, number>>;
  /** Families of pods that the device carries over an outer family. */
  readonly carries: Readonly<Record<Family, readonly Family[]>>;
  /** Frames instead of packets: next hops need MAC addresses, and the tunnel has an identifier and a port. */
  readonly ethernet?: boolean;
}

const outerOf = (self: FabricNode): Family => (self.ip[4] === undefined ? 6 : 4);

/** Outer family for pods of a family: the nodes' preferred one where the device can, else the pods' own. */
function outerFor(technique: Technique, a: FabricNode, b: FabricNode, pods: Family): Family | undefined {
  const both = ([4, 6] as const).filter((family) => a.ip[family] !== undefined && b.ip[family] !== undefined);
  return both.find((family) => technique.carries[family].includes(pods));
}

/** Outer families that a node can need: what it prefers, and the other one where that is not enough for its pods. */
function outerFamilies(technique: Technique, self: FabricNode): Family[] {
  const preferred = outerOf(self);
  if (self.ip[preferred] === undefined) return [];
  const more = preferred === 4 && self.ip[6] !== undefined && !technique.carries[4].includes(6);
  return more ? [4, 6] : [preferred];
}

function deviceFor(technique: Technique, outer: Family): string {
  return `weft.${technique.kinds[outer]}`;
}

/**
 * Tunnels of one device whose destination comes with the route (lightweight tunnel encapsulation): per peer one route
 * per pod CIDR and nothing else, however many peers there are.
 */
function external(technique: Technique): Backend {
  const overhead = (self: FabricNode): number =>
    Math.max(0, ...outerFamilies(technique, self).map((family) => technique.overhead[family]));

  function reach(
    context: CompileContext,
    peer: Peer,
    plan: PlanBuilder,
    to: { readonly prefix: Prefix; readonly via: string; readonly cause: Parameters<PlanBuilder['addFor']>[1] },
  ): FabricCondition | undefined {
    const { self, config } = context;
    const pods = to.prefix.ip.family;
    const outer = outerFor(technique, self, peer.node, pods);
    const dst = formatPrefix(to.prefix);
    if (outer === undefined) {
      const message = `pods in ${dst} cannot be reached: ${technique.name} carries IPv${pods} between nodes with IPv${pods} addresses only`;
      return { node: peer.node.name, reason: 'FamilyMismatch', message };
    }
    const device = deviceFor(technique, outer);
    const ends: TunnelEncap = { src: self.ip[outer] as string, dst: peer.node.ip[outer] as string };
    if (technique.ethernet !== true) {
      plan.addFor({ type: 'route', kind: 'unicast', dst, device, encap: ends }, to.cause);
      return undefined;
    }
    // Over IPv6 a UDP checksum of zero is refused (RFC 6935 allows it for tunnels that ask for it).
    const encap = { ...ends, id: config.vni, ...(outer === 6 ? { csum: true } : {}) };
    plan.addFor({ type: 'neighbour', device, address: to.via, mac: vtepMac(peer.node, config.vni) }, to.cause);
    plan.addFor({ type: 'route', kind: 'unicast', dst, via: to.via, device, encap }, to.cause);
    return undefined;
  }

  return {
    name: technique.name,
    capabilities: {
      acrossRouters: true,
      mixedFamilies: technique.carries[4].includes(6),
      links: [...new Set([technique.kinds[4], technique.kinds[6]])],
    },
    overhead,

    compileSelf(context, plan) {
      const { config, self, underlay } = context;
      const mtu = config.mtu ?? underlay.mtu - overhead(self);
      for (const outer of outerFamilies(technique, self)) {
        const name = deviceFor(technique, outer);
        const frames = technique.ethernet === true ? { mac: vtepMac(self, config.vni), port: config.port } : {};
        plan.add({ type: 'device', kind: technique.kinds[outer], name, mtu, ...frames }, 'status.addresses');
        for (const prefix of podPrefixes(self).prefixes) {
          const pods = prefix.ip.family;
          if (outerFor(technique, self, self, pods) !== outer) continue;
          const address = `${tunnelAddress(prefix)}/${pods === 4 ? 32 : 128}`;
          plan.add({ type: 'address', device: name, address }, 'spec.podCIDRs');
        }
      }
    },

    compilePeer(context, peer, plan) {
      if (context.config.directRouting && isOnLink(context, peer)) return directRoutes(peer, plan);
      const { node, prefixes, blocks = [] } = peer;
      let condition: FabricCondition | undefined;
      for (const prefix of prefixes) {
        const cause = { kind: 'Node', name: node.name, field: 'spec.podCIDRs' };
        condition = reach(context, peer, plan, { prefix, via: tunnelAddress(prefix), cause }) ?? condition;
      }
      for (const { prefix, kind, name } of blocks) {
        const own = prefixes.find((p) => p.ip.family === prefix.ip.family);
        const via = own === undefined ? formatIp(prefix.ip) : tunnelAddress(own);
        const cause = { kind, name, field: 'spec' };
        condition = reach(context, peer, plan, { prefix, via, cause }) ?? condition;
      }
      return condition;
    },
  };
}

/** IP in IP (RFC 2003, RFC 2473): 20 bytes, the least of all tunnels. IPv6 pods need IPv6 between the nodes. */
export const ipip = external({
  name: 'ipip',
  kinds: { 4: 'ipip', 6: 'ip6tnl' },
  overhead: { 4: 20, 6: 40 },
  carries: { 4: [4], 6: [4, 6] },
});

/** GRE (RFC 2784) without a key: IP header and 4 bytes. */
export const gre = external({
  name: 'gre',
  kinds: { 4: 'gre', 6: 'ip6gre' },
  overhead: { 4: 24, 6: 44 },
  carries: { 4: [4, 6], 6: [4, 6] },
});

/** Geneve (RFC 8926): outer IP 20 or 40, UDP 8, Geneve 8, inner Ethernet 14. */
export const geneve = external({
  name: 'geneve',
  kinds: { 4: 'geneve', 6: 'geneve' },
  overhead: { 4: 50, 6: 70 },
  carries: { 4: [4, 6], 6: [4, 6] },
  ethernet: true,
});
