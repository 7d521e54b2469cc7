import {
  addressResources,
  type AddressLoan,
  type CustomResourceDefinition,
  groupResource,
  Informer,
  type IPAMBlock,
  type IPAMConfig,
  type IPPool,
  type IPReservation,
  type KubeClient,
  type KubeObject,
  type Namespace,
  type NetworkAttachmentDefinition,
  networkAttachmentDefinitions,
  type Node,
  type Pod,
  type ResourceType,
  resources,
  type StickyAddress,
  withoutManagedFields,
} from '@weft/kube';
import type { NetworkDefinition } from '@weft/cni';
import type { Logger, Metrics } from '@weft/plan';
import { Followed } from '../followed.ts';

/** Annotation of a network: the extended resource whose devices it attaches. */
const RESOURCE_NAME = 'k8s.v1.cni.cncf.io/resourceName';

export interface AddressCacheOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly nodes: Informer<Node>;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** What is kept of a block: who has it, and which of its addresses are free as far as its node has told. */
export interface KnownBlock {
  readonly name: string;
  readonly cidr: string;
  /** Undefined: nobody's. */
  readonly node: string | undefined;
  readonly unallocated: readonly number[];
}

/** What is kept of a pod of this node. */
export interface KnownPod {
  readonly metadata: Pod['metadata'];
  readonly hostNetwork: boolean;
}

/** What changed, for those who are told. */
export type CacheChange = 'networks' | 'pools' | 'blocks' | 'loans' | 'sticky' | 'pods' | 'nodes';

/** All that a node knows of addresses and networks from the API: followed, never asked for. */
export class AddressCache {
  readonly #options: AddressCacheOptions;
  readonly #definitions: Informer<CustomResourceDefinition, { readonly name: string; readonly served: boolean }>;
  readonly #followed: Followed<KubeObject, unknown>[] = [];
  readonly #listeners = new Set<(change: CacheChange, key: string) => void>();
  readonly #waiting: (() => void)[] = [];
  readonly #pools: readonly Followed<IPPool, IPPool>[];
  readonly #reservations: readonly Followed<IPReservation, IPReservation>[];
  readonly #configs: readonly Followed<IPAMConfig, IPAMConfig>[];
  readonly #blocks: Followed<IPAMBlock, KnownBlock>;
  readonly #loans: Followed<AddressLoan, AddressLoan>;
  readonly #sticky: Followed<StickyAddress, StickyAddress>;
  readonly #networks: Followed<NetworkAttachmentDefinition, NetworkDefinition>;
  readonly namespaces: Informer<Namespace>;
  readonly pods: Informer<Pod, KnownPod>;
  #synced = false;

  constructor(options: AddressCacheOptions) {
    this.#options = options;
    const { client, log, metrics, nodeName, nodes } = options;
    const r = addressResources;
    const whole = <T extends KubeObject>(type: ResourceType<T>, change: CacheChange): Followed<T, T> =>
      this.#follow<T, T>(
        type,
        (o) => withoutManagedFields(o) as T,
        change,
        (o) => o.metadata.name,
      );
    this.#pools = [whole(r.ippools, 'pools'), whole(r.ippoolsV3, 'pools')];
    this.#reservations = [whole(r.ipreservations, 'pools'), whole(r.ipreservationsV3, 'pools')];
    this.#configs = [whole(r.ipamconfigs, 'pools'), whole(r.ipamconfigurationsV3, 'pools')];
    this.#blocks = this.#follow(r.ipamblocks, slimBlock, 'blocks', (block) => block.cidr);
    this.#loans = whole(r.addressloans, 'loans');
    this.#sticky = whole(r.stickyaddresses, 'sticky');
    this.#networks = this.#follow(networkAttachmentDefinitions, slimNetwork, 'networks', (n) => n.name);
    this.#definitions = new Informer({
      client,
      type: resources.customresourcedefinitions,
      transform: (d) => ({
        name: d.metadata.name,
        served: d.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True') === true,
      }),
      name: 'customresourcedefinitions',
      log,
      metrics,
    });
    this.namespaces = new Informer<Namespace>({
      client,
      type: resources.namespaces,
      transform: (n) => ({
        metadata: {
          name: n.metadata.name,
          ...(n.metadata.labels === undefined ? {} : { labels: n.metadata.labels }),
          ...(n.metadata.annotations === undefined ? {} : { annotations: n.metadata.annotations }),
        },
      }),
      name: 'namespaces',
      log,
      metrics,
    });
    this.pods = new Informer<Pod, KnownPod>({
      client,
      type: resources.pods,
      fieldSelector: `spec.nodeName=${nodeName}`,
      transform: (p) => ({
        metadata: {
          name: p.metadata.name,
          ...(p.metadata.namespace === undefined ? {} : { namespace: p.metadata.namespace }),
          ...(p.metadata.uid === undefined ? {} : { uid: p.metadata.uid }),
          ...(p.metadata.annotations === undefined ? {} : { annotations: p.metadata.annotations }),
          ...(p.metadata.ownerReferences === undefined ? {} : { ownerReferences: p.metadata.ownerReferences }),
          ...(p.metadata.deletionTimestamp === undefined ? {} : { deletionTimestamp: p.metadata.deletionTimestamp }),
        },
        hostNetwork: p.spec.hostNetwork === true,
      }),
      name: 'node-pods',
      log,
      metrics,
    });
    this.pods.on({ add: (p) => this.#tell('pods', p.metadata.name), synced: () => this.#look() });
    this.namespaces.on({ synced: () => this.#look() });
    nodes.on({
      add: (n) => this.#tell('nodes', n.metadata.name),
      update: (_, n) => this.#tell('nodes', n.metadata.name),
      delete: (n) => this.#tell('nodes', n.metadata.name),
      synced: () => this.#look(),
    });
  }

  start(signal: AbortSignal): void {
    const serve = (definition: { readonly name: string; readonly served: boolean }, served: boolean): void => {
      const found = this.#followed.find(({ type }) => groupResource(type) === definition.name);
      found?.serve(served && definition.served, signal, () => this.#look());
      this.#look();
    };
    this.#definitions.on({
      add: (d) => serve(d, true),
      update: (_, d) => serve(d, true),
      delete: (d) => serve(d, false),
      synced: () => this.#look(),
    });
    this.namespaces.start(signal);
    this.pods.start(signal);
    this.#definitions.start(signal);
    signal.addEventListener('abort', () => this.#look(), { once: true });
  }

  /** Everything that exists is known. */
  get synced(): boolean {
    return this.#synced;
  }

  /** Resolves when everything that exists is known, or with false after `ms` milliseconds. */
  whenSynced(ms: number): Promise<boolean> {
    return this.until(() => this.#synced, ms);
  }

  /** Resolves with true when the condition holds; it is looked at after every change. False after `ms` milliseconds. */
  until(condition: () => boolean, ms: number): Promise<boolean> {
    if (condition()) return Promise.resolve(true);
    return new Promise((resolve) => {
      const finish = (result: boolean): void => {
        clearTimeout(timer);
        const at = this.#waiting.indexOf(look);
        if (at >= 0) this.#waiting.splice(at, 1);
        resolve(result);
      };
      const look = (): void => {
        if (condition()) finish(true);
      };
      const timer = setTimeout(() => finish(condition()), ms);
      this.#waiting.push(look);
    });
  }

  /** Looks again at what is waited for: something that no object tells has changed. */
  poke(): void {
    this.#look();
  }

  /** Calls back after every change. Returns the way to stop. */
  onChange(listener: (change: CacheChange, key: string) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** True when the kinds of Calico's pools are served. */
  get hasPools(): boolean {
    return this.#serves(addressResources.ipamblocks.plural);
  }

  pools(): readonly IPPool[] {
    return this.#pools.flatMap((p) => p.list());
  }

  reservations(): readonly IPReservation[] {
    return this.#reservations.flatMap((p) => p.list());
  }

  config(): IPAMConfig['spec'] {
    return this.#configs.map((c) => c.get('default')?.spec).find((spec) => spec !== undefined) ?? {};
  }

  blocks(): readonly KnownBlock[] {
    return this.#blocks.list();
  }

  loans(): readonly AddressLoan[] {
    return this.#loans.list();
  }

  loan(name: string): AddressLoan | undefined {
    return this.#loans.get(name);
  }

  sticky(): readonly StickyAddress[] {
    return this.#sticky.list();
  }

  stickyOf(key: string): StickyAddress | undefined {
    return this.#sticky.get(key);
  }

  /** True when the kind of networks is served. */
  get hasNetworks(): boolean {
    return this.#serves(networkAttachmentDefinitions.plural);
  }

  network(namespace: string, name: string): NetworkDefinition | undefined {
    return this.#networks.get(`${namespace}/${name}`);
  }

  node(name: string): Node | undefined {
    return this.#options.nodes.get(name);
  }

  nodes(): readonly Node[] {
    return this.#options.nodes.list();
  }

  #serves(plural: string): boolean {
    return this.#definitions.list().some((d) => d.served && d.name.startsWith(`${plural}.`));
  }

  #follow<Raw extends KubeObject, T>(
    type: ResourceType<Raw>,
    transform: (object: Raw) => T,
    change: CacheChange,
    keyOf: (object: T) => string,
  ): Followed<Raw, T> {
    const { client, log, metrics } = this.#options;
    const name = groupResource(type);
    const make = (): Informer<Raw, T> => new Informer<Raw, T>({ client, type, transform, name, log, metrics });
    const followed = new Followed<Raw, T>(type, make, (object) => this.#tell(change, keyOf(object)));
    this.#followed.push(followed as unknown as Followed<KubeObject, unknown>);
    return followed;
  }

  #tell(change: CacheChange, key: string): void {
    for (const listener of this.#listeners) listener(change, key);
    this.#look();
  }

  #look(): void {
    this.#synced ||=
      this.#definitions.hasSynced &&
      this.namespaces.hasSynced &&
      this.pods.hasSynced &&
      this.#options.nodes.hasSynced &&
      this.#followed.every((f) => f.synced);
    // Whoever has seen what it waits for takes itself off the list.
    for (const look of this.#waiting.slice()) look();
  }
}

function slimNetwork({ metadata, spec }: NetworkAttachmentDefinition): NetworkDefinition {
  const { namespace = '', name, annotations } = metadata;
  return { namespace, name, config: spec?.config ?? '', resourceName: annotations?.[RESOURCE_NAME] };
}

function slimBlock(block: IPAMBlock): KnownBlock {
  const { cidr, affinity, unallocated } = block.spec;
  const node = affinity?.startsWith('host:') === true ? affinity.slice('host:'.length) : undefined;
  return { name: block.metadata.name, cidr, node, unallocated };
}
