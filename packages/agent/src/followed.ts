import type { Informer, KubeObject, ResourceType } from '@weft/kube';

/** Objects of a kind whose definition comes and goes. */
export class Followed<Raw extends KubeObject, T> {
  readonly type: ResourceType<Raw>;
  readonly #make: () => Informer<Raw, T>;
  readonly #changed: (object: T) => void;
  #informer: Informer<Raw, T> | undefined;
  #stop: AbortController | undefined;

  constructor(type: ResourceType<Raw>, make: () => Informer<Raw, T>, changed: (object: T) => void) {
    this.type = type;
    this.#make = make;
    this.#changed = changed;
  }

  get(key: string): T | undefined {
    return this.#informer?.get(key);
  }

  list(): readonly T[] {
    return this.#informer?.list() ?? [];
  }

  get synced(): boolean {
    return this.#informer?.hasSynced ?? true;
  }

  /** Begins or ends to follow, as the kind is served or not. */
  serve(served: boolean, signal: AbortSignal, onSynced: () => void): void {
    if (served === (this.#informer !== undefined)) return;
    if (!served) {
      const gone = this.list();
      this.#stop?.abort();
      this.#informer = undefined;
      for (const object of gone) this.#changed(object);
      return;
    }
    this.#stop = new AbortController();
    this.#informer = this.#make();
    this.#informer.on({
      add: (object) => this.#changed(object),
      update: (_before, after) => this.#changed(after),
      delete: (object) => this.#changed(object),
      synced: onSynced,
    });
    this.#informer.start(AbortSignal.any([signal, this.#stop.signal]));
  }
}
