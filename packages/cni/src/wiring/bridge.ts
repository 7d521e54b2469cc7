import { isKernelError, Rtnl, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniIp, CniResult, CniRoute } from '../spec/types.ts';
import type { NodeNetwork } from './node.ts';
import { type CheckRequest, checkPodSide, createPair, hostBits, type Wiring, type WiringRequest } from './wiring.ts';

const ANYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/** A bridge that owns the gateway addresses, and a port per pod: what most CNI users know. */
export function bridge(name: string): Wiring {
  return {
    async connect(node: NodeNetwork, request: WiringRequest): Promise<CniResult> {
      const master = await ensureBridge(node, name, request);
      const { near, nearMac, far, pod } = await createPair(node, request, { master: master.index });
      try {
        for (const { family } of request.addresses) {
          node.forward(family);
          if (family === 6) writeSysctl(`net/ipv6/conf/${request.ifname}/disable_ipv6`, '0', request.sandbox);
        }
        const routes = routesOf(request);
        await node.rtnl.batch((b) => {
          // Hairpin: a pod reaches itself through a Service.
          b.links.set(near, { up: true, alias: request.alias, addrgenmode: 'none', hairpin: true });
        });
        await pod.batch((b) => {
          b.links.set(1, { up: true });
          b.links.set(far, { up: true });
          for (const { ip, length } of request.addresses) {
            b.addresses.add({ index: far, address: `${ip}/${length}`, noDad: true });
          }
          for (const route of routes) {
            const family = route.dst.includes(':') ? 6 : 4;
            b.routes.add({
              dst: route.dst === ANYWHERE[family] ? 'default' : route.dst,
              family,
              oif: far,
              ...(route.gw === undefined ? {} : { via: route.gw }),
              ...(route.mtu === undefined ? {} : { mtu: route.mtu }),
              ...(route.priority === undefined ? {} : { metric: route.priority }),
            });
          }
        });
        return {
          interfaces: [
            { name, mac: master.mac },
            { name: request.link, mac: nearMac, mtu: request.mtu },
            { name: request.ifname, mac: request.mac, mtu: request.mtu, sandbox: request.sandboxPath },
          ],
          ips: request.addresses.map(
            (a): CniIp => ({
              address: `${a.ip}/${a.length}`,
              interface: 2,
              ...(a.gateway === undefined ? {} : { gateway: a.gateway }),
            }),
          ),
          routes,
        };
      } finally {
        pod.close();
      }
    },

    async check(node: NodeNetwork, request: CheckRequest): Promise<void> {
      const fail = (what: string): never => {
        throw new CniError(CniCode.checkFailed, what);
      };
      const [master, near] = await Promise.all([node.rtnl.links.get(name), node.rtnl.links.get(request.link)]);
      if (master === undefined || !master.up)
        return fail(`bridge ${name} is ${master === undefined ? 'missing' : 'down'}`);
      if (near === undefined || !near.up) {
        return fail(`interface ${request.link} is ${near === undefined ? 'missing' : 'down'} on the node`);
      }
      if (near.master !== master.index) return fail(`interface ${request.link} is not a port of bridge ${name}`);
      const pod = Rtnl.open(request.sandbox);
      try {
        await checkPodSide(pod, request);
      } finally {
        pod.close();
      }
    },
  };
}

function routesOf(request: WiringRequest): readonly CniRoute[] {
  return request.addresses.flatMap(({ family, gateway }): CniRoute[] => {
    if (gateway === undefined) return [];
    const asked = request.routes.filter((route) => route.dst.includes(':') === (family === 6));
    if (asked.length > 0) return asked.map((route) => ({ ...route, gw: route.gw ?? gateway }));
    return [{ dst: ANYWHERE[family], gw: gateway }];
  });
}

async function ensureBridge(
  node: NodeNetwork,
  name: string,
  request: WiringRequest,
): Promise<{ readonly index: number; readonly mac: string }> {
  let link = await node.rtnl.links.get(name);
  if (link === undefined) {
    try {
      await node.rtnl.links.add({ name, kind: 'bridge', mtu: request.mtu, up: true });
    } catch (error) {
      if (!isKernelError(error, 'EEXIST')) throw error;
    }
    link = await node.rtnl.links.get(name);
    // A bridge without a fixed address takes over that of a port, and pods lose their gateway for a moment.
    if (link?.mac !== undefined) await node.rtnl.links.set(link.index, { mac: link.mac });
  }
  if (link === undefined) throw new CniError(CniCode.tryAgainLater, `bridge ${name} was deleted by something else`);
  if (link.kind !== 'bridge') throw new CniError(CniCode.invalidConfig, `bridge: ${name} exists, but is no bridge`);
  const { index } = link;
  const present = new Set((await node.rtnl.addresses.list({ index })).map((a) => a.address));
  for (const { gateway, length, family } of request.addresses) {
    if (gateway === undefined || length === hostBits(family) || present.has(`${gateway}/${length}`)) continue;
    await node.rtnl.addresses.replace({ index, address: `${gateway}/${length}`, noDad: true });
  }
  if (!link.up) await node.rtnl.links.set(index, { up: true });
  return { index, mac: link.mac ?? '' };
}
