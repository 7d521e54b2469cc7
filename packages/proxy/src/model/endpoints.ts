import type { Family } from '@weft/net';
import type { NodeFacts } from './node.ts';
import { addressWidth, type Packed, packList, packPort } from './packed.ts';
import { LOCAL, NOWHERE, READY, SERVING, type SlimSlice, TERMINATING } from './slim.ts';
import type { Protocol } from './types.ts';

/** One endpoint of one service port, merged over all slices that name it. */
export interface Candidate {
  readonly endpoint: Packed;
  readonly flags: number;
  readonly zones: string;
  readonly nodes: string;
}

/** The endpoints of one service port by use. All lists are sorted by address and port. */
export interface Backends {
  /** For the Cluster policy. */
  readonly cluster: Packed;
  /** For the Local policy. */
  readonly local: Packed;
  /** Serving endpoints in neither list. */
  readonly draining: Packed;
  /** Addresses of endpoints on this node, or on a node the slice does not name. */
  readonly hereAddresses: Packed;
  /** Addresses of all endpoints in use. */
  readonly allAddresses: Packed;
  /** Whether any endpoint anywhere could serve. */
  readonly any: boolean;
  /** Ready endpoints on this node. */
  readonly localReady: number;
}

// Two slices may disagree about an endpoint while it moves between them. The best report wins, whatever their order:
// on this node (as kube-proxy), then ready, then serving, then not terminating.
function rank(flags: number): number {
  return (flags & LOCAL ? 8 : 0) + (flags & READY ? 4 : 0) + (flags & SERVING ? 2 : 0) + (flags & TERMINATING ? 0 : 1);
}

/** Endpoints of the port `name`/`protocol`, without duplicates, sorted. */
export function candidates(
  slices: readonly SlimSlice[],
  family: Family,
  name: string,
  protocol: Protocol,
): Candidate[] {
  const width = addressWidth(family);
  const byEndpoint = new Map<Packed, Candidate>();
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const port of slice.ports) {
      if (port.name !== name || port.protocol !== protocol) continue;
      const suffix = packPort(port.port);
      for (let i = 0; i < slice.flags.length; i++) {
        const endpoint = slice.addresses.slice(i * width, (i + 1) * width) + suffix;
        const flags = slice.flags.charCodeAt(i);
        const known = byEndpoint.get(endpoint);
        if (known !== undefined && rank(known.flags) >= rank(flags)) continue;
        byEndpoint.set(endpoint, {
          endpoint,
          flags,
          zones: slice.zones?.[i] ?? '',
          nodes: slice.nodes?.[i] ?? '',
        });
      }
    }
  }
  return [...byEndpoint.values()].sort((a, b) => (a.endpoint < b.endpoint ? -1 : a.endpoint > b.endpoint ? 1 : 0));
}

function hints(list: string, wanted: string): boolean {
  return list === wanted || (list.includes(',') && list.split(',').includes(wanted));
}

/**
 * The endpoints that topology hints leave to this node (KEP-2433, KEP-3015): by node when every ready endpoint carries
 * node hints and one names this node, else by zone on the same terms, else all.
 */
export function byTopology(ready: readonly Candidate[], node: NodeFacts): readonly Candidate[] {
  if (ready.length === 0) return ready;
  if (ready.every((c) => c.nodes !== '')) {
    const here = ready.filter((c) => hints(c.nodes, node.name));
    if (here.length > 0) return here;
  }
  if (node.zone !== '' && ready.every((c) => c.zones !== '')) {
    const here = ready.filter((c) => hints(c.zones, node.zone));
    if (here.length > 0) return here;
  }
  return ready;
}

/**
 * Sorts endpoints by use: ready ones, and only where there are none those that still serve while they terminate
 * (KEP-1669); the Local policy decides among the endpoints of this node on its own and ignores topology.
 */
export function selectBackends(
  all: readonly Candidate[],
  node: NodeFacts,
  uses: { readonly cluster: boolean; readonly local: boolean },
): Backends {
  const fallback = SERVING | TERMINATING;
  const pick = (from: readonly Candidate[]): readonly Candidate[] => {
    const ready = from.filter((c) => (c.flags & READY) !== 0);
    return ready.length > 0 ? ready : from.filter((c) => (c.flags & fallback) === fallback);
  };
  const everywhere = pick(all);
  const cluster = uses.cluster ? byTopology(everywhere, node) : [];
  const here = all.filter((c) => (c.flags & LOCAL) !== 0);
  const local = uses.local ? pick(here) : [];
  const used = new Set([...cluster, ...local]);
  const addresses = (list: Iterable<Candidate>): Packed =>
    packList([...new Set(Array.from(list, (c) => c.endpoint.slice(0, -2)))].sort());
  return {
    cluster: packList(cluster.map((c) => c.endpoint)),
    local: packList(local.map((c) => c.endpoint)),
    draining: packList(all.filter((c) => (c.flags & SERVING) !== 0 && !used.has(c)).map((c) => c.endpoint)),
    hereAddresses: addresses([...used].filter((c) => (c.flags & (LOCAL | NOWHERE)) !== 0)),
    allAddresses: addresses(used),
    any: everywhere.length > 0,
    localReady: here.filter((c) => (c.flags & READY) !== 0).length,
  };
}
