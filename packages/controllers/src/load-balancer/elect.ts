import { createHash } from 'node:crypto';
import type { EndpointSlice, Node, Service } from '@weft/kube';

const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** Nodes that may announce: ready, not on their way out, and not excluded by label. */
export function announcers(nodes: readonly Node[]): string[] {
  return nodes
    .filter(({ metadata, status, spec }) => {
      if (metadata.deletionTimestamp !== undefined || metadata.labels?.[EXCLUDED] !== undefined) return false;
      if (spec?.taints?.some((taint) => taint.key === 'ToBeDeletedByClusterAutoscaler') === true) return false;
      return status?.conditions?.some((c) => c.type === 'Ready' && c.status === 'True') === true;
    })
    .map((node) => node.metadata.name);
}

/**
 * The node that answers for an address. Each address has an order of nodes of its own (rendezvous hashing), so that
 * addresses spread and a node that goes moves only its own. With the Local policy only nodes with a ready endpoint count.
 */
export function elect(
  ip: string,
  service: Service,
  nodes: readonly string[],
  slices: readonly EndpointSlice[],
): string | undefined {
  const local = service.spec.externalTrafficPolicy === 'Local' ? nodesWithEndpoints(slices) : undefined;
  const candidates = nodes.filter((node) => local === undefined || local.has(node));
  const score = (node: string): string => createHash('sha256').update(`${node}#${ip}`).digest('hex');
  return candidates.map((node) => ({ node, score: score(node) })).sort((a, b) => (a.score < b.score ? -1 : 1))[0]?.node;
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
