import { needsFourOctets, writeAsPath } from './as-path.ts';
import { ATTRIBUTE, FLAG } from './attributes.ts';
import type { Writer } from './bytes.ts';
import { AS_TRANS, type PathAttributes } from './types.ts';

const WELL_KNOWN = FLAG.transitive;
const OPTIONAL = FLAG.optional;
const TRANSITIVE = FLAG.optional | FLAG.transitive;
const ORIGINS = { igp: 0, egp: 1, incomplete: 2 } as const;

/** Writes one attribute; long ones get a two-octet length. */
export function writeAttribute(w: Writer, flags: number, type: number, body: () => void): void {
  w.u8(flags | FLAG.extended);
  w.u8(type);
  const at = w.at;
  w.u16(0);
  body();
  w.fill(at, 2);
}

/**
 * Writes path attributes in ascending order of their numbers, without those of other families' prefixes. For a peer
 * without four-octet AS numbers the real ones go into AS4_PATH and AS4_AGGREGATOR (RFC 6793 §4.2.2).
 */
export function writeAttributes(w: Writer, a: PathAttributes, as4: boolean): void {
  const attribute = (flags: number, type: number, body: () => void): void => writeAttribute(w, flags, type, body);
  const { nextHop, med, localPref, aggregator, communities, originatorId, clusterList, largeCommunities } = a;
  attribute(WELL_KNOWN, ATTRIBUTE.origin, () => w.u8(ORIGINS[a.origin]));
  attribute(WELL_KNOWN, ATTRIBUTE.asPath, () => writeAsPath(w, a.asPath, as4));
  if (nextHop !== undefined) attribute(WELL_KNOWN, ATTRIBUTE.nextHop, () => w.ip(nextHop));
  if (med !== undefined) attribute(OPTIONAL, ATTRIBUTE.med, () => w.u32(med));
  if (localPref !== undefined) attribute(WELL_KNOWN, ATTRIBUTE.localPref, () => w.u32(localPref));
  if (a.atomicAggregate === true) attribute(WELL_KNOWN, ATTRIBUTE.atomicAggregate, () => {});
  if (aggregator !== undefined) {
    attribute(TRANSITIVE, ATTRIBUTE.aggregator, () => {
      if (as4) w.u32(aggregator.as);
      else w.u16(aggregator.as > 0xffff ? AS_TRANS : aggregator.as);
      w.ip(aggregator.routerId);
    });
  }
  if (communities !== undefined && communities.length > 0) {
    attribute(TRANSITIVE, ATTRIBUTE.communities, () => {
      for (const community of communities) w.u32(community);
    });
  }
  if (originatorId !== undefined) attribute(OPTIONAL, ATTRIBUTE.originatorId, () => w.ip(originatorId));
  if (clusterList !== undefined && clusterList.length > 0) {
    attribute(OPTIONAL, ATTRIBUTE.clusterList, () => {
      for (const id of clusterList) w.ip(id);
    });
  }
  if (!as4 && needsFourOctets(a.asPath)) attribute(TRANSITIVE, ATTRIBUTE.as4Path, () => writeAsPath(w, a.asPath, true));
  if (!as4 && aggregator !== undefined && aggregator.as > 0xffff) {
    attribute(TRANSITIVE, ATTRIBUTE.as4Aggregator, () => {
      w.u32(aggregator.as);
      w.ip(aggregator.routerId);
    });
  }
  if (largeCommunities !== undefined && largeCommunities.length > 0) {
    attribute(TRANSITIVE, ATTRIBUTE.largeCommunities, () => {
      for (const community of largeCommunities) for (const part of community) w.u32(part);
    });
  }
  for (const { type, value } of a.unknown ?? []) attribute(TRANSITIVE | FLAG.partial, type, () => w.put(value));
}
