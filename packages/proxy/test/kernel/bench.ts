import type { EndpointSlice, Service } from '@weft/kube';
import type { NetNs } from '@weft/kernel';
import type { DataPlane } from '../../src/dataplane.ts';
import type { TableOptions } from '../../src/options.ts';
import { ServiceProxy } from '../../src/proxy.ts';
import { MemoryCluster } from '../support/sources.ts';
import { type EndpointInit, service, slice } from '../support/worlds.ts';
import { Stage } from './stage.ts';

/** Makes the data plane under test, in the node's namespace. */
export type PlaneFactory = (ns: NetNs, options: TableOptions) => DataPlane;

export const NODE_NAME = 'node';

export const OPTIONS: TableOptions = {
  clusterCidrs: ['10.244.0.0/16', 'fd00:244::/32'],
  serviceCidrs: ['10.96.0.0/16', 'fd00:96::/112'],
  // Named, since the default differs by data plane.
  nodePortAddresses: ['primary'],
};

/** A stage with a proxy on its node. */
export class Bench {
  readonly stage: Stage;
  readonly make: PlaneFactory;
  readonly options: TableOptions;
  readonly cluster = new MemoryCluster(NODE_NAME);
  proxy: ServiceProxy;
  plane: DataPlane;
  #stop = new AbortController();
  #count = 0;

  private constructor(stage: Stage, make: PlaneFactory, options: TableOptions) {
    this.stage = stage;
    this.make = make;
    this.options = options;
    this.plane = make(stage.node.ns, options);
    this.proxy = this.#proxy();
  }

  static async start(stage: Stage, make: PlaneFactory, options: TableOptions = OPTIONS): Promise<Bench> {
    const bench = new Bench(stage, make, options);
    bench.cluster.putNode({
      metadata: { name: NODE_NAME },
      status: {
        addresses: [
          { type: 'InternalIP', address: '192.168.0.1' },
          { type: 'InternalIP', address: 'fd00:168::1' },
        ],
      },
    });
    await bench.proxy.start(bench.#stop.signal);
    await bench.proxy.synced;
    return bench;
  }

  #proxy(): ServiceProxy {
    return new ServiceProxy({
      ...this.options,
      nodeName: NODE_NAME,
      sources: this.cluster,
      dataPlane: this.plane,
      ns: this.stage.node.ns,
      auditMs: 0,
    });
  }

  /** A name and addresses that no other test uses. */
  fresh(): { name: string; ip: string; ip6: string; nodePort: number; externalIP: string; vip: string } {
    this.#count += 1;
    const n = this.#count;
    return {
      name: `s${n}`,
      ip: `10.96.0.${n}`,
      ip6: `fd00:96::${n.toString(16)}`,
      nodePort: 30000 + n,
      externalIP: `192.0.2.${n}`,
      vip: `198.51.100.${n}`,
    };
  }

  async service(name: string, spec: Partial<Service['spec']>, status?: Service['status']): Promise<void> {
    this.cluster.putService(service(name, spec, status));
    await this.proxy.idle();
  }

  async endpoints(
    name: string,
    endpoints: readonly EndpointInit[],
    ports?: EndpointSlice['ports'],
    suffix = '1',
  ): Promise<void> {
    this.cluster.putSlice(slice(`${name}-${suffix}`, name, endpoints, ports));
    await this.proxy.idle();
  }

  async remove(name: string): Promise<void> {
    this.cluster.deleteService(name);
    for (const suffix of ['1', '2']) this.cluster.deleteSlice(`${name}-${suffix}`);
    await this.proxy.idle();
  }

  /** Stops the agent; what it wrote stays. */
  async halt(): Promise<void> {
    this.#stop.abort();
    await this.proxy.stop();
  }

  /** Starts a new agent in the world as it is by now. */
  async resume(): Promise<void> {
    this.#stop = new AbortController();
    this.plane = this.make(this.stage.node.ns, this.options);
    this.proxy = this.#proxy();
    await this.proxy.start(this.#stop.signal);
    await this.proxy.synced;
    await this.proxy.idle();
  }

  /** The endpoints of the stage as a slice has them. */
  get at(): { ep1: EndpointInit; ep2: EndpointInit; rep1: EndpointInit; rep2: EndpointInit } {
    const { ep1, ep2, remotePods } = this.stage;
    return {
      ep1: { address: ep1.address, nodeName: NODE_NAME },
      ep2: { address: ep2.address, nodeName: NODE_NAME },
      rep1: { address: remotePods[0], nodeName: 'other' },
      rep2: { address: remotePods[1], nodeName: 'other' },
    };
  }

  async close(): Promise<void> {
    await this.halt();
  }
}

export { Stage };

/** How often each answered: `ep1 10.244.0.11` → by name. */
export function byName(answers: readonly string[]): Record<string, number> {
  const out: Record<string, number> = {};
  for (const answer of answers) {
    const name = answer.split(' ')[0] ?? '';
    out[name] = (out[name] ?? 0) + 1;
  }
  return out;
}

/** The distinct source addresses that servers saw. */
export function sources(answers: readonly string[]): string[] {
  return [...new Set(answers.map((answer) => answer.split(' ')[1] ?? answer))].sort();
}
