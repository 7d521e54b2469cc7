import type { Family } from '@weft/net';
import type { NodeFacts } from './node.ts';
import { addressWidth, flat, type Packed, packPort } from './packed.ts';
import { LOCAL, NOWHERE, READY, SERVING, type SlimSlice, TERMINATING } from './slim.ts';
import type { Protocol } from './types.ts';

/** Topology hints of one endpoint, comma separated. */
interface Hints {
  readonly zones: string;
  readonly nodes: string;
}

/** The endpoints of one service port, merged over all slices that name it. */
export interface Candidates {
  /** Packed endpoint + one char of condition bits each, sorted, every endpoint once. */
  readonly items: readonly string[];
  /** By packed endpoint; undefined when no slice hints at anything. */
  readonly hints: ReadonlyMap<Packed, Hints> | undefined;
}

/** The endpoints of one service port by use. All lists are sorted by address and port. */
export interface Backends {
  /** For the Cluster policy. */
  readonly cluster: Packed;
  /** For the Local policy. */
  readonly local: Packed;
  /** Serving endpoints in neither list. */
  readonly draining: Packed;
  /** Addresses of endpoints in use: those on this node or on one the slice does not name, or all if asked for. */
  readonly hairpin: Packed;
  /** Whether any endpoint anywhere could serve. */
  readonly any: boolean;
  /** Ready endpoints on this node. */
  readonly localReady: number;
}

/** What of the endpoints is wanted. */
export interface Uses {
  readonly cluster: boolean;
  readonly local: boolean;
  /** `hairpin` shall hold the addresses of all endpoints in use. */
  readonly hairpinAll: boolean;
  readonly draining: boolean;
}

const NO_HINTS: Hints = { zones: '', nodes: '' };

// Two slices may disagree about an endpoint while it moves between them. The best report wins, whatever their order:
// on this node (as kube-proxy), then ready, then serving, then not terminating.
function rank(flags: number): number {
  return (flags & LOCAL ? 8 : 0) + (flags & READY ? 4 : 0) + (flags & SERVING ? 2 : 0) + (flags & TERMINATING ? 0 : 1);
}

function flagsOf(item: string): number {
  return item.charCodeAt(item.length - 1);
}

function endpointOf(item: string): Packed {
  return item.slice(0, -1);
}

/** Endpoints of the port `name`/`protocol`, without duplicates, sorted. */
export function candidates(slices: readonly SlimSlice[], family: Family, name: string, protocol: Protocol): Candidates {
  const width = addressWidth(family);
  const items: string[] = [];
  let hints: Map<Packed, Hints> | undefined;
  for (const slice of slices) {
    if (slice.family !== family) continue;
    for (const port of slice.ports) {
      if (port.name !== name || port.protocol !== protocol) continue;
      const suffix = packPort(port.port);
      for (let i = 0; i < slice.flags.length; i++) {
        const endpoint = slice.addresses.slice(i * width, (i + 1) * width) + suffix;
        items.push(endpoint + slice.flags.charAt(i));
        if (slice.zones === undefined && slice.nodes === undefined) continue;
        hints ??= new Map();
        hints.set(endpoint, { zones: slice.zones?.[i] ?? '', nodes: slice.nodes?.[i] ?? '' });
      }
    }
  }
  items.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0));
  return { items: withoutDuplicates(items), hints };
}

function withoutDuplicates(sorted: readonly string[]): readonly string[] {
  const repeats = (i: number): boolean =>
    i > 0 && endpointOf(sorted[i] as string) === endpointOf(sorted[i - 1] as string);
  if (!sorted.some((_, i) => repeats(i))) return sorted;
  const out: string[] = [];
  sorted.forEach((item, i) => {
    if (!repeats(i)) out.push(item);
    else if (rank(flagsOf(item)) > rank(flagsOf(out.at(-1) as string))) out[out.length - 1] = item;
  });
  return out;
}

function names(list: string, wanted: string): boolean {
  return list === wanted || (list.includes(',') && list.split(',').includes(wanted));
}

/**
 * The endpoints that topology hints leave to this node (KEP-2433, KEP-3015): by node when every ready endpoint carries
 * node hints and one names this node, else by zone on the same terms, else all.
 */
function byTopology(ready: readonly string[], hints: Candidates['hints'], node: NodeFacts): readonly string[] {
  if (hints === undefined || ready.length === 0) return ready;
  const of = (item: string): Hints => hints.get(endpointOf(item)) ?? NO_HINTS;
  if (ready.every((item) => of(item).nodes !== '')) {
    const here = ready.filter((item) => names(of(item).nodes, node.name));
    if (here.length > 0) return here;
  }
  if (node.zone !== '' && ready.every((item) => of(item).zones !== '')) {
    const here = ready.filter((item) => names(of(item).zones, node.zone));
    if (here.length > 0) return here;
  }
  return ready;
}

/** Ready ones, and only where there are none those that still serve while they terminate (KEP-1669). */
function usable(items: readonly string[], mask: number): { list: readonly string[]; ready: boolean } {
  const ready = items.filter((item) => (flagsOf(item) & (mask | READY)) === (mask | READY));
  if (ready.length > 0) return { list: ready, ready: true };
  const fallback = mask | SERVING | TERMINATING;
  return { list: items.filter((item) => (flagsOf(item) & fallback) === fallback), ready: false };
}

function pack(items: readonly string[]): Packed {
  if (items.length === 0) return '';
  return flat(items.map(endpointOf).join(''));
}

/** Sorts endpoints by use. The Local policy decides among the endpoints of this node on its own, without topology. */
export function selectBackends(all: Candidates, node: NodeFacts, uses: Uses): Backends {
  const { items, hints } = all;
  const everywhere = usable(items, 0);
  const cluster = uses.cluster ? (everywhere.ready ? byTopology(everywhere.list, hints, node) : everywhere.list) : [];
  const here = uses.local ? usable(items, LOCAL) : undefined;
  const local = here?.list ?? [];
  const inUse = local.length === 0 ? cluster : [...new Set([...cluster, ...local])].sort();
  const mayReturn = uses.hairpinAll ? inUse : inUse.filter((item) => (flagsOf(item) & (LOCAL | NOWHERE)) !== 0);
  const addresses = mayReturn.length === 0 ? [] : [...new Set(mayReturn.map((item) => item.slice(0, -3)))];
  const draining = uses.draining ? items.filter((i) => (flagsOf(i) & SERVING) !== 0 && !inUse.includes(i)) : [];
  return {
    cluster: pack(cluster),
    local: pack(local),
    draining: pack(draining),
    hairpin: flat(addresses.join('')),
    any: everywhere.list.length > 0,
    localReady: here?.ready === true ? local.length : 0,
  };
}
