import type { NlMessage } from '../netlink/wire.ts';
import { decodeAddress, RTM_DELADDR, RTM_NEWADDR } from './address.ts';
import { AF_BRIDGE } from './bytes.ts';
import { decodeLink, linkFamily, RTM_DELLINK, RTM_NEWLINK } from './link.ts';
import { decodeFdb, decodeNeighbour, isFdb, RTM_DELNEIGH, RTM_NEWNEIGH } from './neigh.ts';
import { decodeRoute, isCloned, isIpRoute, RTM_DELROUTE, RTM_NEWROUTE } from './route.ts';
import { decodeRule, RTM_DELRULE, RTM_NEWRULE } from './rule.ts';
import type { RtEvent, RtGroup } from './types.ts';

/** Multicast group numbers (enum rtnetlink_groups). */
export const GROUPS: Record<RtGroup, number> = {
  link: 1,
  neigh: 3,
  address4: 5,
  route4: 7,
  rule4: 8,
  address6: 9,
  route6: 11,
  rule6: 19,
};

/** An announcement as an event; undefined for those that say nothing about configuration. */
export function decodeEvent(m: NlMessage): RtEvent | undefined {
  switch (m.type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
      // A bridge announces its ports in the same group; "deleted" there means "left the bridge".
      if (linkFamily(m) === AF_BRIDGE) return undefined;
      return { type: 'link', action: m.type === RTM_NEWLINK ? 'set' : 'del', link: decodeLink(m) };
    case RTM_NEWADDR:
    case RTM_DELADDR:
      return { type: 'address', action: m.type === RTM_NEWADDR ? 'set' : 'del', address: decodeAddress(m) };
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
      if (isCloned(m) || !isIpRoute(m)) return undefined;
      return { type: 'route', action: m.type === RTM_NEWROUTE ? 'set' : 'del', route: decodeRoute(m) };
    case RTM_NEWRULE:
    case RTM_DELRULE:
      return { type: 'rule', action: m.type === RTM_NEWRULE ? 'set' : 'del', rule: decodeRule(m) };
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH: {
      const action = m.type === RTM_NEWNEIGH ? 'set' : 'del';
      return isFdb(m)
        ? { type: 'fdb', action, entry: decodeFdb(m) }
        : { type: 'neighbour', action, neighbour: decodeNeighbour(m) };
    }
    default:
      return undefined;
  }
}
