import { createHash } from 'node:crypto';
import type { EndpointSlice, Node, Service } from '@weft/kube';
import { parseIp, parsePrefix, prefixContains } from '@weft/net';

const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';
/** On a Node: the networks it is on, CIDRs parted by commas. Written by its agent; without it nothing is known. */
const NETWORKS = 'weft.dev/l2-networks';

/** A node that may announce. */
export interface Announcer {
  readonly name: string;
  /** What orders nodes by address: 32 bits of the name's SHA-256. */
  readonly seed: number;
  /** Its networks as the Node has them; undefined: not known. */
  readonly networks?: string;
}

function seedOf(text: string): number {
  return createHash('sha256').update(text).digest().readUInt32BE(0);
}

/** Nodes that may announce: ready, not on their way out, and not excluded by label. */
export function announcers(nodes: readonly Node[]): Announcer[] {
  return nodes
    .filter(({ metadata, status, spec }) => {
      if (metadata.deletionTimestamp !== undefined || metadata.labels?.[EXCLUDED] !== undefined) return false;
      if (spec?.taints?.some((taint) => taint.key === 'ToBeDeletedByClusterAutoscaler') === true) return false;
      return status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
    })
    .map(({ metadata: { name, annotations } }) => {
      const networks = annotations?.[NETWORKS];
      return { name, seed: seedOf(name), ...(networks === undefined ? {} : { networks }) };
    });
}

/**
 * The node that answers for an address. Each address has an order of nodes of its own (rendezvous hashing), so that
 * addresses spread and a node that goes moves only its own. A node counts when the address is of one of its networks, and
 * with the Local policy when it has a ready endpoint.
 */
export function elect(
  ip: string,
  service: Service,
  nodes: readonly Announcer[],
  slices: readonly EndpointSlice[],
): string | undefined {
  const local = service.spec.externalTrafficPolicy === 'Local' ? nodesWithEndpoints(slices) : undefined;
  const isOn = networkTest(ip);
  const seed = seedOf(ip);
  let best: Announcer | undefined;
  let highest = -1;
  for (const node of nodes) {
    if (local?.has(node.name) === false || !isOn(node.networks)) continue;
    const score = mix(node.seed, seed);
    if (score < highest || (score === highest && best !== undefined && node.name > best.name)) continue;
    best = node;
    highest = score;
  }
  return best?.name;
}

/** An even order for each pair, at the price of a few multiplications: there are a million pairs to look at. */
function mix(a: number, b: number): number {
  let h = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Whether an address is of networks as a Node has them. Most nodes are on the same ones: each text is read once. */
function networkTest(text: string): (networks: string | undefined) => boolean {
  const ip = parseIp(text);
  const known = new Map<string, boolean>();
  return (networks) => {
    if (networks === undefined || ip === undefined) return true;
    let holds = known.get(networks);
    if (holds === undefined) {
      holds = networks.split(',').some((part) => {
        const prefix = parsePrefix(part.trim());
        return prefix !== undefined && prefix.ip.family === ip.family && prefixContains(prefix, ip);
      });
      known.set(networks, holds);
    }
    return holds;
  };
}

function nodesWithEndpoints(slices: readonly EndpointSlice[]): Set<string> {
  const out = new Set<string>();
  for (const slice of slices) {
    for (const endpoint of slice.endpoints ?? []) {
      if ((endpoint.conditions?.ready ?? true) && endpoint.nodeName !== undefined) out.add(endpoint.nodeName);
    }
  }
  return out;
}
