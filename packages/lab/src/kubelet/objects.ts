import {
  type ConfigMap,
  Informer,
  isStatus,
  type KubeClient,
  type KubeObject,
  objectKey,
  type ResourceType,
  resources,
  type Secret,
  type Service,
} from '@weft/kube';
import type { Logger } from '@weft/plan';
import type { ObjectReader } from './environment.ts';
import type { LinkedService } from './service-env.ts';

/** Watches that start when somebody first asks: a node without ConfigMaps in its pods does not watch them. */
export class KubeletObjects implements ObjectReader {
  readonly #client: KubeClient;
  readonly #log: Logger;
  readonly #signal: AbortSignal;
  readonly #onChange: (key: string) => void;
  #configMaps: Informer<ConfigMap> | undefined;
  #secrets: Informer<Secret> | undefined;
  #services: Informer<Service, LinkedService & KubeObject> | undefined;

  /** `onChange` gets `configmaps/ns/name` or `secrets/ns/name`. */
  constructor(options: { client: KubeClient; log: Logger; signal: AbortSignal; onChange: (key: string) => void }) {
    this.#client = options.client;
    this.#log = options.log;
    this.#signal = options.signal;
    this.#onChange = options.onChange;
  }

  configMap(namespace: string, name: string): Promise<ConfigMap | undefined> {
    this.#configMaps ??= this.#start(resources.configmaps);
    return this.#read(this.#configMaps, resources.configmaps, namespace, name);
  }

  secret(namespace: string, name: string): Promise<Secret | undefined> {
    this.#secrets ??= this.#start(resources.secrets);
    return this.#read(this.#secrets, resources.secrets, namespace, name);
  }

  /** Services with a cluster address in a namespace. */
  async services(namespace: string): Promise<LinkedService[]> {
    if (this.#services === undefined) {
      this.#services = new Informer<Service, LinkedService & KubeObject>({
        client: this.#client,
        type: resources.services,
        name: 'service-links',
        log: this.#log,
        transform: slimService,
      });
      this.#services.index('namespace', (service) => service.namespace);
      this.#services.start(this.#signal);
    }
    await this.#services.synced;
    return this.#services.byIndex('namespace', namespace);
  }

  #start<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const informer = new Informer<T>({ client: this.#client, type, name: `kubelet-${type.plural}`, log: this.#log });
    const changed = (object: T): void => this.#onChange(`${type.plural}/${objectKey(object)}`);
    informer.on({ add: changed, update: (_before, after) => changed(after), delete: changed });
    informer.start(this.#signal);
    return informer;
  }

  async #read<T extends KubeObject>(
    informer: Informer<T>,
    type: ResourceType<T>,
    namespace: string,
    name: string,
  ): Promise<T | undefined> {
    if (informer.hasSynced) {
      const known = informer.get(`${namespace}/${name}`);
      if (known !== undefined) return known;
    }
    // The pod may have come sooner than the object that was made before it.
    return this.#client.get(type, namespace, name).catch((error: unknown) => {
      if (isStatus(error, 'NotFound')) return undefined;
      throw error;
    });
  }
}

function slimService(service: Service): (LinkedService & KubeObject) | undefined {
  const { clusterIP, ports = [] } = service.spec ?? {};
  if (!clusterIP || clusterIP === 'None' || service.spec?.type === 'ExternalName') return undefined;
  const { name, namespace = '' } = service.metadata;
  return {
    metadata: { name, namespace },
    name,
    namespace,
    clusterIP,
    ports: ports.map((p) => ({
      port: p.port,
      ...(p.name === undefined ? {} : { name: p.name }),
      ...(p.protocol === undefined || p.protocol === 'TCP' ? {} : { protocol: p.protocol }),
    })),
  };
}
