import type { EndpointSlice, Node, Service } from '@weft/kube';
import { type NodeFacts, nodeFacts } from '../../src/model/node.ts';
import { slimService, type SlimService, slimSlice, type SlimSlice } from '../../src/model/slim.ts';
import type { ProxySources, Source } from '../../src/proxy.ts';

type Handlers<T> = Parameters<Source<T>['on']>[0];

/** A watched collection held in memory: what an informer would show. */
export class MemorySource<T> implements Source<T> {
  readonly objects = new Map<string, T>();
  readonly #handlers = new Set<Handlers<T>>();

  on(handlers: Handlers<T>): () => void {
    this.#handlers.add(handlers);
    for (const object of this.objects.values()) handlers.add?.(object);
    handlers.synced?.();
    return () => void this.#handlers.delete(handlers);
  }

  set(key: string, next: T | undefined): void {
    const before = this.objects.get(key);
    if (next === undefined) this.objects.delete(key);
    else this.objects.set(key, next);
    for (const handlers of this.#handlers) {
      if (before !== undefined && next !== undefined) handlers.update?.(before, next);
      else if (next !== undefined) handlers.add?.(next);
      else if (before !== undefined) handlers.delete?.(before);
    }
  }
}

/** The API objects of a test, slimmed as the informers slim them. */
export class MemoryCluster implements ProxySources {
  readonly services = new MemorySource<SlimService>();
  readonly slices = new MemorySource<SlimSlice>();
  readonly node = new MemorySource<NodeFacts>();
  readonly #nodeName: string;

  constructor(nodeName: string) {
    this.#nodeName = nodeName;
  }

  putService(service: Service): void {
    this.services.set(`${service.metadata.namespace}/${service.metadata.name}`, slimService(service));
  }

  deleteService(name: string): void {
    this.services.set(`default/${name}`, undefined);
  }

  putSlice(slice: EndpointSlice): void {
    this.slices.set(slice.metadata.name, slimSlice(this.#nodeName)(slice));
  }

  deleteSlice(name: string): void {
    this.slices.set(name, undefined);
  }

  putNode(node: Node): void {
    this.node.set(node.metadata.name, nodeFacts(node));
  }
}
