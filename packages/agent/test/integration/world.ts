import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type ApiServer, startApiServer } from '@weft/apiserver';
import { type Allocation, Ipam, rangeOfSubnet } from '@weft/cni';
import {
  addressDefinitions,
  addressResources,
  EventRecorder,
  Informer,
  KubeClient,
  type Node,
  resources,
} from '@weft/kube';
import { Metrics, silentLogger } from '@weft/plan';
import { AddressBook } from '../../src/addresses/book.ts';
import { AddressCache } from '../../src/addresses/cache.ts';

/** A pod of the model: what its ADD asks for. */
export interface ModelPod {
  readonly name: string;
  readonly annotations: Readonly<Record<string, string>>;
}

/** One life of a node's agent, as far as addresses go: from its start to a crash. */
export class Life {
  readonly ipam: Ipam;
  readonly cache: AddressCache;
  readonly #book: AddressBook;
  readonly #cidr: string;
  readonly #stop = new AbortController();

  constructor(socket: string, name: string, cidr: string, stateDir: string) {
    this.#cidr = cidr;
    const real = new KubeClient({ transport: { kind: 'unix', path: socket } });
    const { signal } = this.#stop;
    // A process that was killed sends nothing any more.
    const client = new Proxy(real, {
      get: (target, key) => {
        const value: unknown = Reflect.get(target, key, target);
        if (typeof value !== 'function') return value;
        return (...args: unknown[]) =>
          signal.aborted ? Promise.reject(new Error('the agent was killed')) : (value.apply(target, args) as unknown);
      },
    });
    signal.addEventListener('abort', () => real.close());
    const common = { client, log: silentLogger, metrics: new Metrics() };
    const nodes = new Informer<Node>({ ...common, type: resources.nodes });
    this.cache = new AddressCache({ ...common, nodeName: name, nodes });
    const events = new EventRecorder({ client, component: 'test' });
    this.#book = new AddressBook({ ...common, nodeName: name, cache: this.cache, events });
    // The old life's file stays open, as it would until its process is gone; the new one has a file of its own by then.
    this.ipam = new Ipam({ stateDir, stamp: { boot: 'b', netns: '1' }, log: silentLogger, reuseDelayMs: 0 });
    for (const record of this.ipam.list()) if (record.state !== 'ready') this.ipam.release(record);
    nodes.start(signal);
    this.cache.start(signal);
    this.#book.start(signal);
    this.#book.begin(this.ipam);
  }

  async add(pod: ModelPod): Promise<Allocation> {
    const attachment = { network: 'weft', containerId: pod.name, ifname: 'eth0' };
    const reference = { namespace: 'default', name: pod.name };
    const range = rangeOfSubnet(this.#cidr);
    const question = {
      ...attachment,
      pod: reference,
      annotations: pod.annotations,
      ranges: [{ family: 4 as const, ranges: [range] }],
      configured: {},
      exact: [],
    };
    for (let round = 0; ; round++) {
      const { requests, sticky } = await this.#book.choose(question);
      if (this.#stop.signal.aborted) throw new Error('killed');
      try {
        const record = { ...attachment, kind: 'wired' as const, pod: reference, ...(sticky ? { sticky } : {}) };
        const { allocation } = this.ipam.reserveFrom(record, requests);
        await Promise.resolve();
        if (this.#stop.signal.aborted) throw new Error('killed');
        this.ipam.ready(allocation);
        return allocation;
      } catch (error) {
        if (round > 3 || (await this.#book.grow(question)) !== undefined) throw error;
      }
    }
  }

  del(name: string): void {
    const found = this.ipam.get('weft', { containerId: name, ifname: 'eth0' });
    if (found === undefined) return;
    this.ipam.removing(found);
    this.ipam.release(found);
  }

  kill(): void {
    this.#stop.abort();
  }
}

/** A real API server, and nodes whose agents live and die. */
export class World {
  readonly client: KubeClient;
  readonly #directory: string;
  readonly #server: ApiServer;
  readonly lives = new Map<string, Life>();
  readonly #cidrs = new Map<string, string>();

  private constructor(directory: string, server: ApiServer) {
    this.#directory = directory;
    this.#server = server;
    this.client = new KubeClient({ transport: { kind: 'unix', path: path.join(directory, 'api.sock') } });
  }

  static async open(): Promise<World> {
    const directory = mkdtempSync(path.join(tmpdir(), 'weft-addresses-'));
    const server = await startApiServer({
      dataDir: path.join(directory, 'data'),
      listen: undefined,
      unixPath: path.join(directory, 'api.sock'),
      serviceCidrs: ['10.96.0.0/16'],
      nodePortRange: [30_000, 32_767],
      clusterDomain: 'cluster.local',
      durability: 'none',
      log: silentLogger,
      metrics: new Metrics(),
    });
    const world = new World(directory, server);
    for (const d of addressDefinitions()) await world.client.create(resources.customresourcedefinitions, d);
    return world;
  }

  async node(name: string, cidr: string): Promise<void> {
    await this.client.create(resources.nodes, { metadata: { name }, spec: { podCIDR: cidr, podCIDRs: [cidr] } });
    this.#cidrs.set(name, cidr);
    this.start(name);
  }

  /** Kills the node's agent, if it lives, and starts it again on what it left on disk. */
  start(name: string): void {
    this.lives.get(name)?.kill();
    const socket = path.join(this.#directory, 'api.sock');
    const stateDir = path.join(this.#directory, name);
    this.lives.set(name, new Life(socket, name, this.#cidrs.get(name) as string, stateDir));
  }

  /** `address node/container` of everything that is set aside anywhere. */
  held(): readonly (readonly [address: string, who: string])[] {
    return [...this.lives].flatMap(([node, life]) =>
      life.ipam.list().flatMap((a) => a.addresses.map((address) => [address, `${node}/${a.containerId}`] as const)),
    );
  }

  async until(condition: () => Promise<boolean> | boolean): Promise<void> {
    while (!(await condition())) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  async count(type: keyof typeof addressResources): Promise<number> {
    return (await this.client.list(addressResources[type] as never, undefined)).items.length;
  }

  async close(): Promise<void> {
    for (const life of this.lives.values()) life.kill();
    this.client.close();
    await this.#server.close();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
