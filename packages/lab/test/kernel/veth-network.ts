import { NetNs, Rtnl } from '@weft/kernel';
import type { PodNetwork, SandboxNetworkRequest } from '../../src/runtime/index.ts';

/** Pods on point-to-point links with the node: a real network without plugins. */
export class VethNetwork implements PodNetwork {
  readonly #rtnl = Rtnl.open();
  readonly #names = new Map<string, string>();
  #next = 2;
  problem: string | undefined;

  async setup(request: SandboxNetworkRequest): Promise<{ ips: string[] }> {
    // Links of an earlier process keep their addresses; names carry the number.
    const taken = new Set((await this.#rtnl.links.list({ kind: 'veth' })).map((l) => l.name));
    while (taken.has(`veth${this.#next}`)) this.#next += 1;
    const number = this.#next++;
    const ip = `10.77.0.${number}`;
    const name = `veth${number}`;
    const ns = NetNs.open(request.netnsPath);
    const pod = Rtnl.open(ns);
    try {
      await this.#rtnl.links.add({
        name,
        kind: 'veth',
        up: true,
        alias: request.id,
        peer: { name: 'eth0', ns, up: true },
      });
      const [host, eth0, lo] = await Promise.all([
        this.#rtnl.links.get(name),
        pod.links.get('eth0'),
        pod.links.get('lo'),
      ]);
      if (host === undefined || eth0 === undefined || lo === undefined) throw new Error('no link');
      await pod.links.set(lo.index, { up: true });
      await pod.addresses.add({ index: eth0.index, address: `${ip}/32` });
      await pod.routes.add({ dst: '10.77.0.1/32', oif: eth0.index, scope: 'link' });
      await pod.routes.add({ dst: 'default', via: '10.77.0.1', oif: eth0.index, onlink: true });
      await this.#rtnl.addresses.add({ index: host.index, address: '10.77.0.1/32' });
      await this.#rtnl.routes.add({ dst: `${ip}/32`, oif: host.index, scope: 'link' });
    } finally {
      pod.close();
      ns.close();
    }
    this.#names.set(request.id, name);
    return { ips: [ip] };
  }

  async teardown(request: SandboxNetworkRequest): Promise<void> {
    const link = (await this.#rtnl.links.list({ kind: 'veth' })).find((l) => l.alias === request.id);
    if (link !== undefined) await this.#rtnl.links.del(link.index, { missingOk: true });
  }

  check(): Promise<string | undefined> {
    return Promise.resolve(this.problem);
  }
}
