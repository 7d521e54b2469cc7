import type { Link, Route, Rtnl } from '@weft/kernel';
import type { DeviceEntry, FabricEntry } from '../entries.ts';

/** Protocol number of the fabric's routes (`ip route show proto 87`). */
export const ROUTE_PROTOCOL = 87;
/** Protocol number of routes that were learned by BGP. */
export const BGP_PROTOCOL = 88;
/** Metric that the kernel gives IPv6 routes without one. */
const IPV6_METRIC = 1024;
const OUR_DEVICE = /^weft\.\d+$/;

function deviceOf(link: Link): DeviceEntry {
  return {
    type: 'device',
    name: link.name,
    vni: link.vxlan?.id ?? 0,
    port: link.vxlan?.port ?? 0,
    local: link.vxlan?.local ?? '',
    mac: link.mac ?? '',
    mtu: link.mtu,
  };
}

/**
 * What the kernel has of the fabric: our devices with all they carry, and all routes with our protocol number.
 * For adoption at start and for audits; the hot path never lists.
 */
export async function readFabric(rtnl: Rtnl): Promise<readonly FabricEntry[]> {
  const entries: FabricEntry[] = [];
  const names = new Map<number, string>();
  for (const link of await rtnl.links.list({ kind: 'vxlan' })) {
    if (!OUR_DEVICE.test(link.name)) continue;
    const { index, name: device } = link;
    names.set(index, device);
    // A device that is down carries nothing: it counts as missing.
    if (link.up && link.vxlan?.learning !== true) entries.push(deviceOf(link));
    for (const { address } of await rtnl.addresses.list({ index })) {
      if (!address.startsWith('fe80:')) entries.push({ type: 'address', device, address });
    }
    for (const { address, mac, state } of await rtnl.neighbours.list({ index })) {
      if (state === 'permanent' && mac !== undefined) entries.push({ type: 'neighbour', device, address, mac });
    }
    for (const { mac, dst } of await rtnl.fdb.list(index)) {
      if (dst !== undefined) entries.push({ type: 'fdb', device, mac, dst });
    }
  }
  for (const protocol of [ROUTE_PROTOCOL, BGP_PROTOCOL]) {
    for (const route of await rtnl.routes.list({ protocol })) entries.push(routeEntry(route, names));
  }
  return entries;
}

function routeEntry(route: Route, names: ReadonlyMap<number, string>): FabricEntry {
  const device = route.oif === undefined ? undefined : names.get(route.oif);
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
  };
}
