import type { Link, Route, Rtnl } from '@weft/kernel';
import type { DeviceEntry, FabricEntry } from '../entries.ts';

/** Protocol number of the fabric's routes (`ip route show proto 87`). */
export const ROUTE_PROTOCOL = 87;
/** Protocol number of routes that were learned by BGP. */
export const BGP_PROTOCOL = 88;
/** Metric that the kernel gives IPv6 routes without one. */
const IPV6_METRIC = 1024;
/** Names of our devices, by the number of their network or the kind of their tunnel. */
const OUR_DEVICE = /^weft\.(\d+|ipip|ip6tnl|gre|ip6gre|geneve)$/;

function deviceOf(link: Link): DeviceEntry | undefined {
  const { name, mtu, mac, vxlan, external } = link;
  // A device that is down carries nothing, and one that learns is another's: they count as missing.
  if (!link.up || vxlan?.learning === true) return undefined;
  if (vxlan !== undefined) {
    const { id = 0, port = 0, local = '' } = vxlan;
    return { type: 'device', kind: 'vxlan', name, vni: id, port, local, mac: mac ?? '', mtu };
  }
  if (external === undefined) return undefined;
  const { kind, port } = external;
  const frames = kind === 'geneve' && mac !== undefined ? { mac } : {};
  return { type: 'device', kind, name, mtu, ...frames, ...(port === undefined ? {} : { port }) };
}

/**
 * What the kernel has of the fabric: our devices with all they carry, and all routes with our protocol number.
 * For adoption at start and for audits; the hot path never lists.
 */
export async function readFabric(rtnl: Rtnl): Promise<readonly FabricEntry[]> {
  const entries: FabricEntry[] = [];
  const names = new Map<number, string>();
  const others = new Map<number, string>();
  for (const link of await rtnl.links.list()) {
    const { index, name: device } = link;
    if (!OUR_DEVICE.test(device)) {
      others.set(index, device);
      continue;
    }
    names.set(index, device);
    const entry = deviceOf(link);
    if (entry !== undefined) entries.push(entry);
    for (const { address } of await rtnl.addresses.list({ index })) {
      if (!address.startsWith('fe80:')) entries.push({ type: 'address', device, address });
    }
    for (const { address, mac, state } of await rtnl.neighbours.list({ index })) {
      if (state === 'permanent' && mac !== undefined) entries.push({ type: 'neighbour', device, address, mac });
    }
    if (link.kind !== 'vxlan') continue;
    for (const { mac, dst } of await rtnl.fdb.list(index)) {
      if (dst !== undefined) entries.push({ type: 'fdb', device, mac, dst });
    }
  }
  for (const protocol of [ROUTE_PROTOCOL, BGP_PROTOCOL]) {
    for (const route of await rtnl.routes.list({ protocol })) entries.push(routeEntry(route, names, others));
  }
  for (const { index, address, protocol } of await rtnl.neighbours.list({ proxy: true })) {
    const device = others.get(index);
    if (protocol === ROUTE_PROTOCOL && device !== undefined) entries.push({ type: 'proxy', device, address });
  }
  return entries;
}

function routeEntry(
  route: Route,
  names: ReadonlyMap<number, string>,
  others: ReadonlyMap<number, string>,
): FabricEntry {
  const { oif, encap } = route;
  // Of another's device only what is asked for on its link: next hops are looked for by the kernel.
  const onLink = route.via === undefined && route.nexthops === undefined && route.type === 'unicast';
  const device = oif === undefined ? undefined : (names.get(oif) ?? (onLink ? others.get(oif) : undefined));
  const metric = route.family === 6 && route.metric === IPV6_METRIC ? undefined : route.metric;
  const hops = route.nexthops?.flatMap(({ via }) => (via === undefined ? [] : [via])).sort();
  const dst = route.dst === 'default' ? (route.family === 6 ? '::/0' : '0.0.0.0/0') : route.dst;
  return {
    type: 'route',
    kind: route.type === 'unreachable' ? 'unreachable' : 'unicast',
    dst,
    ...(route.via === undefined ? {} : { via: route.via }),
    ...(hops === undefined ? {} : { hops }),
    ...(route.protocol === BGP_PROTOCOL ? { protocol: 'bgp' as const } : {}),
    ...(device === undefined ? {} : { device }),
    ...(metric === undefined ? {} : { metric }),
    ...(encap === undefined ? {} : { encap: { ...encap, src: encap.src ?? '' } }),
  };
}
