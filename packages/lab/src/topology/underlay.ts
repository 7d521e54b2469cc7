import { mkdirSync } from 'node:fs';
import { NetNs, Rtnl, writeSysctl } from '@weft/kernel';
import type { ClusterConfig, NodePlace } from '../cluster/config.ts';
import {
  bridgeName,
  hardwareAddress,
  netnsPath,
  UNDERLAY_MTU,
  type UnderlayAddresses,
  underlayAddresses,
} from './addresses.ts';
import { WAY_OUT_LINK } from './wayout.ts';

/**
 * The physical network of the lab: one router namespace with a bridge per subnet, and a namespace per node that hangs
 * on its subnet's bridge by `eth0`. Nothing in it knows of Kubernetes.
 */
export class Underlay {
  readonly #config: ClusterConfig;
  readonly #netnsDir: string;
  readonly addresses: UnderlayAddresses;

  constructor(config: ClusterConfig, netnsDir: string) {
    this.#config = config;
    this.#netnsDir = netnsDir;
    this.addresses = underlayAddresses(config);
  }

  /** Path of the router's namespace. */
  get routerPath(): string {
    return netnsPath(this.#netnsDir, 'lab');
  }

  nodePath(node: string): string {
    return netnsPath(this.#netnsDir, node);
  }

  /** Builds the router with its bridges. An older one goes first. */
  async createRouter(): Promise<void> {
    mkdirSync(this.#netnsDir, { recursive: true });
    NetNs.remove(this.routerPath);
    const ns = NetNs.create(this.routerPath);
    const rtnl = Rtnl.open(ns);
    try {
      await rtnl.links.set('lo', { up: true });
      for (let i = 0; i < this.#config.subnets; i++) {
        const name = bridgeName(i);
        const address = this.addresses.routers[i] as string;
        await rtnl.links.add({ name, kind: 'bridge', mtu: UNDERLAY_MTU, mac: hardwareAddress(address), up: true });
        const link = await rtnl.links.get(name);
        if (link !== undefined) await rtnl.addresses.add({ index: link.index, address: `${address}/24` });
      }
      writeSysctl('net.ipv4.ip_forward', '1', ns);
    } finally {
      rtnl.close();
      ns.close();
    }
  }

  /** Builds a node's namespace and plugs it into its subnet. An older one of the same name goes first. */
  async createNode(place: NodePlace): Promise<void> {
    this.removeNode(place.name);
    const at = this.addresses.nodes.get(place.name);
    if (at === undefined) throw new RangeError(`no place in the underlay for ${place.name}`);
    const router = NetNs.open(this.routerPath);
    const ns = NetNs.create(this.nodePath(place.name));
    const outside = Rtnl.open(router);
    const inside = Rtnl.open(ns);
    try {
      // Links take their settings from `default` when they are made.
      for (const scope of ['all', 'default']) {
        // Packets of pods and of the host arrive on other links than the route back would take.
        writeSysctl(`net.ipv4.conf.${scope}.rp_filter`, '0', ns);
        // A node is the way to Services that it may not know yet. Were it to point the host to its own gateway instead,
        // the host would keep to that for minutes.
        writeSysctl(`net.ipv4.conf.${scope}.send_redirects`, '0', ns);
      }
      const bridge = await outside.links.get(bridgeName(place.subnet));
      await outside.links.del(place.name, { missingOk: true });
      await outside.links.add({
        name: place.name,
        kind: 'veth',
        mtu: UNDERLAY_MTU,
        up: true,
        ...(bridge === undefined ? {} : { master: bridge.index }),
        peer: { name: 'eth0', ns, mtu: UNDERLAY_MTU, mac: hardwareAddress(at.address) },
      });
      await inside.links.set('lo', { up: true });
      await inside.links.set('eth0', { up: true });
      const eth0 = await inside.links.get('eth0');
      if (eth0 === undefined) throw new RangeError(`eth0 of ${place.name} did not appear`);
      await inside.addresses.add({ index: eth0.index, address: `${at.address}/24` });
      await inside.routes.add({ dst: 'default', via: at.gateway, oif: eth0.index });
    } finally {
      inside.close();
      outside.close();
      ns.close();
      router.close();
    }
  }

  /** Takes a node off the network. Its namespace lives on until its last process ends. */
  removeNode(name: string): void {
    NetNs.remove(this.nodePath(name));
  }

  /** True when the way out has its link at the router. */
  async hasWayOut(): Promise<boolean> {
    const router = NetNs.open(this.routerPath);
    const rtnl = Rtnl.open(router);
    try {
      return (await rtnl.links.get(WAY_OUT_LINK)) !== undefined;
    } finally {
      rtnl.close();
      router.close();
    }
  }

  /** Pulls a node's cable. */
  async unplug(name: string): Promise<void> {
    const router = NetNs.open(this.routerPath);
    const rtnl = Rtnl.open(router);
    try {
      await rtnl.links.del(name, { missingOk: true });
    } finally {
      rtnl.close();
      router.close();
    }
  }
}
