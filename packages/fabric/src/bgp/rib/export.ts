import type { PathAttributes } from '../codec/index.ts';
import { prependAs } from '../codec/index.ts';
import { type Candidate, DEFAULT_LOCAL_PREF } from './decision.ts';
import { applyFilter } from './filter.ts';
import type { RibPeer, RibSelf } from './types.ts';

/** Well-known communities (RFC 1997). */
const NO_EXPORT = 0xffffff01;
const NO_ADVERTISE = 0xffffff02;
const NO_EXPORT_SUBCONFED = 0xffffff03;

/** A route as a peer is to see it. */
export interface Exported {
  readonly nextHop: string;
  readonly attributes: PathAttributes;
}

/** Whether a route may be told to a peer at all (RFC 4271 §9.2, RFC 4456 §6, RFC 1997). */
function mayTell(self: RibSelf, from: RibPeer | undefined, to: RibPeer, attributes: PathAttributes): boolean {
  if (from?.name === to.name) return false;
  if (from?.internal === true && to.internal && (self.clusterId === undefined || (!from.client && !to.client)))
    return false;
  const communities = attributes.communities ?? [];
  if (communities.includes(NO_ADVERTISE)) return false;
  return to.internal || !(communities.includes(NO_EXPORT) || communities.includes(NO_EXPORT_SUBCONFED));
}

function forInternal(self: RibSelf, from: RibPeer | undefined, attributes: PathAttributes): PathAttributes {
  const localPref = attributes.localPref ?? DEFAULT_LOCAL_PREF;
  if (from?.internal !== true) return { ...attributes, localPref };
  // Reflected: everything stays as it is, and says by whom it came (RFC 4456 §8).
  return {
    ...attributes,
    localPref,
    originatorId: attributes.originatorId ?? from.routerId ?? '0.0.0.0',
    clusterList: [self.clusterId ?? self.routerId, ...(attributes.clusterList ?? [])],
  };
}

function forExternal(as: number, from: RibPeer | undefined, attributes: PathAttributes): PathAttributes {
  const { localPref: _, originatorId: _o, clusterList: _c, med, ...rest } = attributes;
  return {
    ...rest,
    // A metric is meant for the neighbouring AS alone.
    ...(from === undefined && med !== undefined ? { med } : {}),
    asPath: prependAs(attributes.asPath, as),
  };
}

/** What a peer is told of a route; undefined: nothing. Pure. */
export function exportRoute(self: RibSelf, { route, peer: from }: Candidate, to: RibPeer): Exported | undefined {
  if (!mayTell(self, from, to, route.attributes)) return undefined;
  const { prefix, attributes: raw } = route;
  const filtered = applyFilter(to.export, { prefix, attributes: raw, remote: from !== undefined });
  if (filtered === undefined) return undefined;
  const { nextHop: _, ...given } = filtered;
  const attributes = to.internal ? forInternal(self, from, given) : forExternal(to.localAs ?? self.as, from, given);
  const own = to.localAddress[route.family];
  const keeps = to.nextHop === 'keep' || (to.nextHop === 'auto' && to.internal);
  const nextHop = keeps ? (route.nextHop ?? own) : own;
  // Telling a peer that it leads to itself would only be thrown away there.
  return nextHop === undefined || nextHop === to.address ? undefined : { nextHop, attributes };
}
