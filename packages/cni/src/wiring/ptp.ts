import { type RtBatch, Rtnl, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniIp, CniResult, CniRoute } from '../spec/types.ts';
import type { NodeNetwork } from './node.ts';
import { type CheckRequest, checkPodSide, createPair, hostBits, type Wiring, type WiringRequest } from './wiring.ts';

/** Gateways that pods see. Nobody owns them; pods find them by a permanent neighbour entry. */
const GATEWAY = { 4: '169.254.1.1', 6: 'fe80::1' } as const;
/** MAC address of the node's end of every pair. Each pair is a network of its own, so they may be equal. */
const NEAR_MAC = 'ee:ee:ee:ee:ee:ee';
const ANYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;

/**
 * Point to point: the pod has a /32 and a default route, the node a route per pod. No bridge, no shared subnet, so no
 * broadcast domain and nothing to renumber when the node's pod CIDR changes.
 */
export const ptp: Wiring = {
  async connect(node: NodeNetwork, request: WiringRequest): Promise<CniResult> {
    const { near, far, pod } = await createPair(node, request, { mac: NEAR_MAC });
    try {
      for (const { family } of request.addresses) {
        node.forward(family);
        // The kernel switches IPv6 off in a container when the runtime does not ask for it.
        if (family === 6) writeSysctl(`net/ipv6/conf/${request.ifname}/disable_ipv6`, '0', request.sandbox);
      }
      const routes = routesOf(request);
      await node.rtnl.batch((b) => nodeSide(b, near, request));
      await pod.batch((b) => podSide(b, far, request, routes));
      return {
        interfaces: [
          { name: request.link, mac: NEAR_MAC, mtu: request.mtu },
          { name: request.ifname, mac: request.mac, mtu: request.mtu, sandbox: request.sandboxPath },
        ],
        ips: request.addresses.map(
          (a): CniIp => ({ address: `${a.ip}/${hostBits(a.family)}`, gateway: GATEWAY[a.family], interface: 1 }),
        ),
        routes,
      };
    } finally {
      pod.close();
    }
  },

  async check(node: NodeNetwork, request: CheckRequest): Promise<void> {
    const near = await node.rtnl.links.get(request.link);
    if (near === undefined || !near.up) {
      throw new CniError(
        CniCode.checkFailed,
        `interface ${request.link} is ${near === undefined ? 'missing' : 'down'} on the node`,
      );
    }
    const routed = new Set((await node.rtnl.routes.list({ oif: near.index })).map((r) => r.dst.split('/')[0]));
    const missing = request.addresses.find((address) => !routed.has(address));
    if (missing !== undefined) {
      throw new CniError(CniCode.checkFailed, `the node has no route to ${missing} by ${request.link}`);
    }
    const pod = Rtnl.open(request.sandbox);
    try {
      const { index } = await checkPodSide(pod, request);
      const gateways = await pod.neighbours.list({ index });
      const inside = await pod.routes.list({ oif: index });
      for (const family of [4, 6] as const) {
        if (!request.addresses.some((a) => a.includes(':') === (family === 6))) continue;
        const gateway = GATEWAY[family];
        if (!gateways.some((n) => n.address === gateway && n.state === 'permanent')) {
          throw new CniError(CniCode.checkFailed, `the sandbox has no neighbour entry of its gateway ${gateway}`);
        }
        // Another network of the pod may have the default route, and the result says so.
        const expected = request.result.routes?.some((r) => r.gw === gateway) ?? true;
        if (expected && !inside.some((r) => r.via === gateway)) {
          throw new CniError(CniCode.checkFailed, `the sandbox has no route by its gateway ${gateway}`);
        }
      }
    } finally {
      pod.close();
    }
  },
};

function routesOf(request: WiringRequest): readonly CniRoute[] {
  const families = [...new Set(request.addresses.map((a) => a.family))];
  return families.flatMap((family): CniRoute[] => {
    const asked = request.routes.filter((route) => route.dst.includes(':') === (family === 6));
    // All ways out lead through the node, whatever gateway the IPAM of a shared subnet has in mind.
    if (asked.length > 0) return asked.map((route) => ({ ...route, gw: GATEWAY[family] }));
    return [{ dst: ANYWHERE[family], gw: GATEWAY[family] }];
  });
}

function nodeSide(b: RtBatch, near: number, request: WiringRequest): void {
  b.links.set(near, { up: true, alias: request.alias, addrgenmode: 'none' });
  for (const { ip, family } of request.addresses) {
    b.routes.add({ dst: `${ip}/${hostBits(family)}`, oif: near, scope: 'link' });
    if (family === 4) {
      // For arping and for pods that flush their neighbours.
      b.neighbours.add({ index: near, address: GATEWAY[4], proxy: true });
    } else {
      // Without an address of its own on this link the node could not ask who has it.
      b.neighbours.add({ index: near, address: ip, mac: request.mac });
    }
  }
}

function podSide(b: RtBatch, far: number, request: WiringRequest, routes: readonly CniRoute[]): void {
  b.links.set(1, { up: true });
  b.links.set(far, { up: true });
  for (const { ip, family } of request.addresses) {
    b.addresses.add({ index: far, address: `${ip}/${hostBits(family)}`, noDad: true });
    b.neighbours.add({ index: far, address: GATEWAY[family], mac: NEAR_MAC });
    if (family === 4) b.routes.add({ dst: `${GATEWAY[4]}/32`, oif: far, scope: 'link' });
  }
  for (const route of routes) {
    const family = route.dst.includes(':') ? 6 : 4;
    b.routes.add({
      dst: route.dst === ANYWHERE[family] ? 'default' : route.dst,
      family,
      via: GATEWAY[family],
      oif: far,
      ...(route.mtu === undefined ? {} : { mtu: route.mtu }),
      ...(route.advmss === undefined ? {} : { advmss: route.advmss }),
      ...(route.priority === undefined ? {} : { metric: route.priority }),
      ...(route.table === undefined ? {} : { table: route.table }),
    });
  }
}
