import { compareIp, type Ip, parseIp } from '@weft/net';
import { asPathLength } from '../codec/index.ts';
import type { RibPeer, RibRoute } from './types.ts';

/** LOCAL_PREF of routes that come without one. */
export const DEFAULT_LOCAL_PREF = 100;
const ORIGIN = { igp: 0, egp: 1, incomplete: 2 } as const;
const LOWEST: Ip = parseIp('0.0.0.0') as Ip;

/** A route with the peer that sent it; without one it is our own. */
export interface Candidate {
  readonly route: RibRoute;
  readonly peer: RibPeer | undefined;
}

function neighbourAs({ route }: Candidate): number {
  const [first] = route.attributes.asPath;
  return first?.kind === 'sequence' ? (first.ases[0] ?? 0) : 0;
}

/** Steps that come before MULTI_EXIT_DISC (RFC 4271 §9.1.2.2 a, b); negative when `a` is better. */
function byPath(a: Candidate, b: Candidate): number {
  const own = Number(a.peer !== undefined) - Number(b.peer !== undefined);
  if (own !== 0) return own;
  const [x, y] = [a.route.attributes, b.route.attributes];
  return (
    (y.localPref ?? DEFAULT_LOCAL_PREF) - (x.localPref ?? DEFAULT_LOCAL_PREF) ||
    asPathLength(x.asPath) - asPathLength(y.asPath) ||
    ORIGIN[x.origin] - ORIGIN[y.origin]
  );
}

function byMed(a: Candidate, b: Candidate): number {
  return (a.route.attributes.med ?? 0) - (b.route.attributes.med ?? 0);
}

/** Routes of other ASes before those of our own (step d). */
function byKind(a: Candidate, b: Candidate): number {
  return Number(a.peer?.internal ?? false) - Number(b.peer?.internal ?? false);
}

function routerIdOf({ route, peer }: Candidate): Ip {
  return parseIp(route.attributes.originatorId ?? peer?.routerId ?? '') ?? LOWEST;
}

/** Steps f and g, with those of reflected routes (RFC 4456 §9). */
function byTie(a: Candidate, b: Candidate): number {
  return (
    compareIp(routerIdOf(a), routerIdOf(b)) ||
    (a.route.attributes.clusterList?.length ?? 0) - (b.route.attributes.clusterList?.length ?? 0) ||
    compareIp(parseIp(a.peer?.address ?? '') ?? LOWEST, parseIp(b.peer?.address ?? '') ?? LOWEST)
  );
}

/**
 * The best route first, then those that are as good up to the tie-breaks and lead to other next hops: packets may be
 * spread over them. MULTI_EXIT_DISC is compared among routes of one neighbouring AS only, which are therefore settled
 * among themselves first: the outcome does not depend on the order of arrival. Empty when there is no candidate.
 */
export function decide(candidates: readonly Candidate[]): readonly Candidate[] {
  if (candidates.length <= 1) return candidates;
  const groups = new Map<number, Candidate[]>();
  for (const candidate of candidates) {
    const as = neighbourAs(candidate);
    groups.set(as, [...(groups.get(as) ?? []), candidate]);
  }
  const survivors = [...groups.values()].flatMap((group) => {
    const order = (a: Candidate, b: Candidate): number => byPath(a, b) || byMed(a, b) || byKind(a, b);
    const best = group.reduce((x, y) => (order(y, x) < 0 ? y : x));
    return group.filter((c) => order(c, best) === 0);
  });
  const order = (a: Candidate, b: Candidate): number => byPath(a, b) || byKind(a, b);
  const best = survivors.reduce((x, y) => (order(y, x) < 0 ? y : x));
  const equal = survivors.filter((c) => order(c, best) === 0).sort(byTie);
  const hops = new Set<string | undefined>();
  return equal.filter(({ route: { nextHop } }) => !hops.has(nextHop) && hops.add(nextHop));
}
