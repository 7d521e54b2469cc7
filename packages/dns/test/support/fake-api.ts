import { type KubeObject, objectKey, type ResourceType, type WatchEvent } from '@weft/kube';
import type { KubeSource } from '../../src/server/plugin.ts';

type Listener = (event: WatchEvent<KubeObject>) => void;

interface Kind {
  readonly objects: Map<string, KubeObject>;
  readonly watchers: Set<Listener>;
}

/**
 * An API server reduced to what an informer asks of it: streaming lists and watches of objects in memory. The informer
 * on top of it is the real one.
 */
export class FakeApi implements KubeSource {
  readonly #kinds = new Map<string, Kind>();
  #version = 1;
  /** While true, watches are accepted but say nothing: an API server that does not answer. */
  silent = false;

  readonly #stops = new Set<() => void>();

  /** Ends every watch, and accepts no more that say anything: the API server is gone. */
  disconnect(): void {
    this.silent = true;
    for (const stop of this.#stops) stop();
  }

  put(
    plural: string,
    ...objects: (Omit<KubeObject, 'metadata'> & { metadata: { name: string; namespace?: string } })[]
  ): void {
    for (const object of objects) {
      const kind = this.#kind(plural);
      this.#version += 1;
      const stored = {
        ...object,
        metadata: { ...object.metadata, resourceVersion: String(this.#version) },
      } as KubeObject;
      const key = objectKey(stored);
      const type = kind.objects.has(key) ? 'MODIFIED' : 'ADDED';
      kind.objects.set(key, stored);
      for (const watcher of kind.watchers) watcher({ type, object: stored });
    }
  }

  remove(plural: string, key: string): void {
    const kind = this.#kind(plural);
    const object = kind.objects.get(key);
    if (object === undefined) throw new Error(`no ${plural} ${key}`);
    kind.objects.delete(key);
    this.#version += 1;
    const gone = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
    for (const watcher of kind.watchers) watcher({ type: 'DELETED', object: gone });
  }

  list<T extends KubeObject>(type: ResourceType<T>): Promise<{ items: T[]; resourceVersion: string }> {
    return Promise.resolve({
      items: [...this.#kind(type.plural).objects.values()] as T[],
      resourceVersion: String(this.#version),
    });
  }

  watch<T extends KubeObject>(
    type: ResourceType<T>,
    _namespace: string | undefined,
    options: { readonly sendInitialEvents?: boolean; readonly onOpen?: () => void },
    onEvent: (event: WatchEvent<T>) => void,
    signal: AbortSignal,
  ): Promise<void> {
    const kind = this.#kind(type.plural);
    return new Promise((resolve) => {
      const listener = onEvent as Listener;
      const stop = (): void => {
        this.#stops.delete(stop);
        kind.watchers.delete(listener);
        resolve();
      };
      this.#stops.add(stop);
      signal.addEventListener('abort', stop, { once: true });
      queueMicrotask(() => {
        if (signal.aborted || this.silent) return;
        options.onOpen?.();
        if (options.sendInitialEvents === true) {
          for (const object of kind.objects.values()) listener({ type: 'ADDED', object });
          const annotations = { 'k8s.io/initial-events-end': 'true' };
          const object = { metadata: { name: '', resourceVersion: String(this.#version), annotations } } as KubeObject;
          listener({ type: 'BOOKMARK', object });
        }
        kind.watchers.add(listener);
      });
    });
  }

  #kind(plural: string): Kind {
    let kind = this.#kinds.get(plural);
    if (kind === undefined) {
      kind = { objects: new Map(), watchers: new Set() };
      this.#kinds.set(plural, kind);
    }
    return kind;
  }
}
