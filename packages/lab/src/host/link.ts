import { isKernelError, NetNs, Rtnl } from '@weft/kernel';
import { formatPrefix, parsePrefix, prefixOf, parseIp } from '@weft/net';
import { WeftError } from '@weft/plan';
import { bridgeName, UNDERLAY_MTU, type UnderlayAddresses } from '../topology/addresses.ts';
import type { ClusterConfig } from '../cluster/config.ts';

/** Name of the host's end of the link to a cluster. */
function hostLinkName(cluster: string): string {
  return `weft-${cluster}`;
}

function linkAlias(cluster: string): string {
  return `weft cluster ${cluster}`;
}

/**
 * Joins the host to a cluster, for clusters of root: one veth pair into the first subnet of the underlay, and one
 * route each for the cluster's pods and Services by way of its first node, and for a second subnet by way of the router. This file is the only one that changes the
 * host's network; it sets no sysctl and writes no rule.
 */
export async function attachHost(
  config: ClusterConfig,
  addresses: UnderlayAddresses,
  routerPath: string,
): Promise<void> {
  const name = hostLinkName(config.name);
  const router = NetNs.open(routerPath);
  const inside = Rtnl.open(router);
  const host = Rtnl.open();
  try {
    await detachHost(config.name);
    await host.links.add({
      name,
      kind: 'veth',
      mtu: UNDERLAY_MTU,
      alias: linkAlias(config.name),
      peer: { name: 'host', ns: router, mtu: UNDERLAY_MTU },
    });
    const bridge = await inside.links.get(bridgeName(0));
    await inside.links.set('host', { up: true, ...(bridge === undefined ? {} : { master: bridge.index }) });
    await host.links.set(name, { up: true });
    const link = await host.links.get(name);
    if (link === undefined) throw new RangeError(`${name} did not appear`);
    await host.addresses.add({ index: link.index, address: `${addresses.host}/24` });
    // Nodes of further subnets are behind the router, as they are for one another.
    for (const subnet of addresses.subnets.slice(1)) {
      const via = addresses.routers[0];
      if (via !== undefined) await host.routes.add({ dst: formatPrefix(subnet), via, oif: link.index });
    }
    const gateway = addresses.nodes.get('n1')?.address;
    for (const cidr of [config.podCidr, config.serviceCidr]) {
      try {
        await host.routes.add({ dst: cidr, ...(gateway === undefined ? {} : { via: gateway }), oif: link.index });
      } catch (error) {
        if (!isKernelError(error, 'EEXIST')) throw error;
        throw new WeftError({
          code: 'CIDR_OVERLAP',
          message: `the host has a route to ${cidr} already`,
          hint: 'ip route shows it; choose another --pod-cidr or --service-cidr',
          cause: error,
        });
      }
    }
  } finally {
    host.close();
    inside.close();
    router.close();
  }
}

/** Takes the host's end away; its routes go with it. True when there was one. */
export async function detachHost(cluster: string): Promise<boolean> {
  const host = Rtnl.open();
  try {
    const link = await host.links.get(hostLinkName(cluster));
    // Somebody else's link may have the name.
    if (link === undefined || link.alias !== linkAlias(cluster)) return false;
    await host.links.del(hostLinkName(cluster), { missingOk: true });
    return true;
  } finally {
    host.close();
  }
}

/** Blocks that the host itself uses: its interfaces' networks and its routes, but for those of the named cluster. */
export async function hostBlocks(ownCluster: string): Promise<{ what: string; cidr: string }[]> {
  const host = Rtnl.open();
  try {
    const links = new Map((await host.links.list()).map((l) => [l.index, l.name]));
    const out = new Map<string, string>();
    for (const route of await host.routes.list({ family: 4, table: 254 })) {
      const name = route.oif === undefined ? undefined : links.get(route.oif);
      const dst = parsePrefix(route.dst);
      if (dst === undefined || dst.length === 0 || name === hostLinkName(ownCluster)) continue;
      out.set(formatPrefix(dst), `the host's route${name === undefined ? '' : ` on ${name}`}`);
    }
    for (const address of await host.addresses.list({ family: 4 })) {
      const name = links.get(address.index);
      const [ip, bits] = address.address.split('/');
      const parsed = parseIp(ip ?? '');
      if (parsed === undefined || name === hostLinkName(ownCluster)) continue;
      out.set(formatPrefix(prefixOf(parsed, Number(bits ?? 32))), `the network of the host's ${name ?? 'interface'}`);
    }
    return [...out].map(([cidr, what]) => ({ what, cidr }));
  } finally {
    host.close();
  }
}
