import { setMaxListeners } from 'node:events';
import {
  controllerOf,
  type IndexFunction,
  Informer,
  type KubeClient,
  type KubeObject,
  type ResourceType,
  type Pod,
  groupResource,
  resources,
  withoutManagedFields,
} from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import { slimPod } from './pods.ts';

export interface InformerSetOptions {
  readonly client: KubeClient;
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly signal: AbortSignal;
}

/**
 * One informer per kind, shared by all controllers of a process.
 *
 * Pods are slimmed to what controllers read (slimPod); everything else is kept whole but for `managedFields`. Stored
 * objects belong to all: nobody may change them.
 */
export class InformerSet {
  readonly #options: InformerSetOptions;
  readonly #full = new Map<string, Informer<KubeObject>>();
  readonly #slim = new Map<string, { readonly informer: Informer<KubeObject>; readonly stop: AbortController }>();
  readonly #indexes = new Set<string>();

  constructor(options: InformerSetOptions) {
    this.#options = options;
    // Every informer and queue listens to the one signal that stops them.
    setMaxListeners(0, options.signal);
  }

  /** The informer of a kind; it is started by the first call. */
  of<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const id = groupResource(type);
    let informer = this.#full.get(id);
    if (informer === undefined) {
      const transform = (id === 'pods' ? slimPod : withoutManagedFields) as unknown as (
        object: KubeObject,
      ) => KubeObject;
      informer = this.#start(type, transform, id);
      this.#full.set(id, informer);
    }
    return informer as unknown as Informer<T>;
  }

  /** An informer of a kind whose objects have metadata only: the one that exists, or a slim one of its own. */
  metadataOf(type: ResourceType): Informer<KubeObject> {
    const id = groupResource(type);
    const there = this.#full.get(id) ?? this.#slim.get(id)?.informer;
    if (there !== undefined) return there;
    const stop = new AbortController();
    const signal = AbortSignal.any([this.#options.signal, stop.signal]);
    const informer = this.#start(type, metadataOnly, `${id}-metadata`, signal);
    this.#slim.set(id, { informer, stop });
    return informer;
  }

  /** Ends a metadata informer, of a kind that the server no longer serves. */
  dropMetadata(type: ResourceType): void {
    const id = groupResource(type);
    this.#slim.get(id)?.stop.abort();
    this.#slim.delete(id);
  }

  /** Adds an index once, however many controllers ask for it; a name stands for one function. */
  index<T extends KubeObject>(type: ResourceType<T>, name: string, valuesOf: IndexFunction<T>): Informer<T> {
    const informer = this.of(type);
    const id = `${groupResource(type)}#${name}`;
    if (!this.#indexes.has(id)) {
      this.#indexes.add(id);
      informer.index(name, valuesOf);
    }
    return informer;
  }

  /** Objects by the uid of their managing controller (`owner`) and, without one, by namespace (`orphans`). */
  owned<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    this.index(type, 'owner', (object) => controllerOf(object)?.uid);
    return this.index(type, 'orphans', (object) =>
      controllerOf(object) === undefined ? (object.metadata.namespace ?? '') : undefined,
    );
  }

  #start(
    type: ResourceType,
    transform: (object: KubeObject) => KubeObject,
    name: string,
    signal = this.#options.signal,
  ): Informer<KubeObject> {
    const { client, log, metrics } = this.#options;
    const informer = new Informer<KubeObject>({ client, type, transform, log, metrics, name });
    informer.start(signal);
    return informer;
  }
}

const sets = new WeakMap<KubeClient, InformerSet>();

/** The one InformerSet of a client, made by the first call. */
export function sharedInformers(options: InformerSetOptions): InformerSet {
  let set = sets.get(options.client);
  if (set === undefined) {
    set = new InformerSet(options);
    sets.set(options.client, set);
  }
  return set;
}

function metadataOnly(object: KubeObject): KubeObject {
  const { name, namespace, uid, resourceVersion, ownerReferences, finalizers, deletionTimestamp } = object.metadata;
  return {
    ...(object.apiVersion === undefined ? {} : { apiVersion: object.apiVersion }),
    ...(object.kind === undefined ? {} : { kind: object.kind }),
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(ownerReferences === undefined ? {} : { ownerReferences }),
      ...(finalizers === undefined ? {} : { finalizers }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
  };
}

/** The pods informer with every index that controllers use. */
export function podInformer(informers: InformerSet): Informer<Pod> {
  informers.index(resources.pods, 'labels', (pod) =>
    Object.entries(pod.metadata.labels ?? {}).map(([key, value]) => `${pod.metadata.namespace}/${key}=${value}`),
  );
  informers.index(resources.pods, 'node', (pod) => pod.spec.nodeName);
  return informers.owned(resources.pods);
}
