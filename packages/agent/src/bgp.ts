import type { BgpService, BgpSource } from '@weft/fabric';
import {
  type BGPConfiguration,
  type BGPFilter,
  type BGPPeer,
  bgpResources,
  type CustomResourceDefinition,
  type EndpointSlice,
  groupResource,
  Informer,
  type IPPool,
  isStatus,
  type KubeClient,
  type KubeObject,
  type ResourceType,
  resources,
  type Service,
  withoutManagedFields,
} from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import type { AddressCache } from './addresses/cache.ts';
import { Followed } from './followed.ts';

/** Longest that a start waits for the objects there are, milliseconds. */
const SYNC_MS = 30_000;
/** How often a Secret that was asked for is read again, milliseconds. */
const SECRET_MS = 60_000;
/** Where Calico's nodes run and have their Secrets. */
const SECRET_NAMESPACES = ['kube-system', 'calico-system'];

export interface BgpObjectsOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  /** Pools are followed there. */
  readonly cache: AddressCache;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** A slice as far as it says whether this node has endpoints of a Service. */
interface KnownSlice {
  readonly service: string;
  readonly here: boolean;
}

type KnownService = Omit<BgpService, 'here'>;

function slimService({ metadata, spec, status }: Service): KnownService {
  const headless = spec.clusterIP === 'None';
  const ips = spec.clusterIPs ?? (spec.clusterIP === undefined || spec.clusterIP === '' ? [] : [spec.clusterIP]);
  return {
    namespace: metadata.namespace ?? '',
    name: metadata.name,
    clusterIPs: headless ? [] : ips,
    externalIPs: spec.externalIPs ?? [],
    loadBalancerIPs: (status?.loadBalancer?.ingress ?? []).flatMap(({ ip }) => (ip === undefined ? [] : [ip])),
    local: spec.externalTrafficPolicy === 'Local',
  };
}

/** The objects that say how this node speaks BGP, followed as far as their kinds are served. */
export class BgpObjects implements BgpSource {
  readonly synced: Promise<void>;
  readonly #options: BgpObjectsOptions;
  readonly #listeners = new Set<() => void>();
  readonly #definitions: Informer<CustomResourceDefinition, { readonly name: string; readonly served: boolean }>;
  readonly #followed: Followed<KubeObject, unknown>[] = [];
  readonly #configurations: readonly Followed<BGPConfiguration, BGPConfiguration>[];
  readonly #peers: readonly Followed<BGPPeer, BGPPeer>[];
  readonly #filters: readonly Followed<BGPFilter, BGPFilter>[];
  readonly #services: Informer<Service, KnownService>;
  readonly #slices: Informer<EndpointSlice, KnownSlice>;
  /** Name → data; undefined while it is read for the first time. */
  readonly #secrets = new Map<string, Readonly<Record<string, string>> | undefined>();
  #wakeSynced: () => void = () => {};
  #pending: NodeJS.Immediate | undefined;

  constructor(options: BgpObjectsOptions) {
    this.#options = options;
    const { client, log, metrics, nodeName } = options;
    const shared = { client, log, metrics };
    const r = bgpResources;
    const whole = <T extends KubeObject>(type: ResourceType<T>): Followed<T, T> => {
      const transform = (object: T): T => withoutManagedFields(object) as T;
      const make = (): Informer<T, T> => new Informer<T, T>({ ...shared, type, transform, name: groupResource(type) });
      const followed = new Followed<T, T>(type, make, () => this.#changed());
      this.#followed.push(followed as unknown as Followed<KubeObject, unknown>);
      return followed;
    };
    this.#configurations = [whole(r.bgpconfigurations), whole(r.bgpconfigurationsV3)];
    this.#peers = [whole(r.bgppeers), whole(r.bgppeersV3)];
    this.#filters = [whole(r.bgpfilters), whole(r.bgpfiltersV3)];
    this.#definitions = new Informer({
      ...shared,
      type: resources.customresourcedefinitions,
      transform: (d) => ({
        name: d.metadata.name,
        served: d.status?.conditions?.some((c) => c.type === 'Established' && c.status === 'True') === true,
      }),
      name: 'bgp-definitions',
    });
    this.#services = new Informer({
      ...shared,
      type: resources.services,
      transform: slimService,
      name: 'bgp-services',
    });
    this.#slices = new Informer({
      ...shared,
      type: resources.endpointslices,
      transform: ({ metadata, endpoints }) => {
        const service = metadata.labels?.['kubernetes.io/service-name'];
        if (service === undefined) return undefined;
        const serves = (e: NonNullable<typeof endpoints>[number]): boolean =>
          e.nodeName === nodeName && e.conditions?.ready !== false;
        return { service: `${metadata.namespace ?? ''}/${service}`, here: (endpoints ?? []).some(serves) };
      },
      name: 'bgp-endpointslices',
    });
    this.synced = new Promise((resolve) => {
      this.#wakeSynced = resolve;
    });
  }

  start(signal: AbortSignal): void {
    const look = (): void => {
      const informers = [this.#definitions, this.#services, this.#slices];
      if (informers.every((i) => i.hasSynced) && this.#followed.every((f) => f.synced)) this.#wakeSynced();
    };
    const serve = (definition: { readonly name: string; readonly served: boolean }, served: boolean): void => {
      const found = this.#followed.find(({ type }) => groupResource(type) === definition.name);
      found?.serve(served && definition.served, signal, look);
      look();
    };
    this.#definitions.on({
      add: (d) => serve(d, true),
      update: (_, d) => serve(d, true),
      delete: (d) => serve(d, false),
      synced: look,
    });
    const changed = (): void => this.#changed();
    for (const informer of [this.#services, this.#slices])
      informer.on({ add: changed, update: changed, delete: changed, synced: look });
    for (const informer of [this.#definitions, this.#services, this.#slices]) informer.start(signal);
    const stopPools = this.#options.cache.onChange((change) => {
      if (change === 'pools') this.#changed();
    });
    // An API that does not answer must not keep routes from being made.
    const late = setTimeout(this.#wakeSynced, SYNC_MS);
    const again = setInterval(() => {
      for (const name of this.#secrets.keys()) void this.#read(name);
    }, SECRET_MS);
    const stop = (): void => {
      stopPools();
      clearTimeout(late);
      clearInterval(again);
      if (this.#pending !== undefined) clearImmediate(this.#pending);
      this.#wakeSynced();
    };
    signal.addEventListener('abort', stop, { once: true });
  }

  configurations(): readonly BGPConfiguration[] {
    return this.#configurations.flatMap((f) => f.list());
  }

  peers(): readonly BGPPeer[] {
    return this.#peers.flatMap((f) => f.list());
  }

  filters(): readonly BGPFilter[] {
    return this.#filters.flatMap((f) => f.list());
  }

  pools(): readonly IPPool[] {
    return this.#options.cache.pools();
  }

  services(): readonly BgpService[] {
    const here = new Set(this.#slices.list().flatMap((slice) => (slice.here ? [slice.service] : [])));
    return this.#services.list().map((s) => ({ ...s, here: here.has(`${s.namespace}/${s.name}`) }));
  }

  secret(name: string, key: string): string | undefined {
    if (!this.#secrets.has(name)) {
      this.#secrets.set(name, undefined);
      void this.#read(name);
    }
    const value = this.#secrets.get(name)?.[key];
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString('utf8');
  }

  on(changed: () => void): () => void {
    this.#listeners.add(changed);
    return () => void this.#listeners.delete(changed);
  }

  async #read(name: string): Promise<void> {
    for (const namespace of SECRET_NAMESPACES) {
      try {
        const { data = {} } = await this.#options.client.get(resources.secrets, namespace, name);
        const before = this.#secrets.get(name);
        this.#secrets.set(name, data);
        if (JSON.stringify(before) !== JSON.stringify(data)) this.#changed();
        return;
      } catch (error) {
        if (!isStatus(error, 'NotFound')) this.#options.log.warn('cannot read a Secret', { namespace, name, error });
      }
    }
  }

  /** Objects come in bursts; whoever listens is told once per turn of the event loop. */
  #changed(): void {
    this.#pending ??= setImmediate(() => {
      this.#pending = undefined;
      for (const listener of this.#listeners) listener();
    });
  }
}
