import type { KubeObject } from '@weft/kube';

/** The part of an informer that is asked whether it has caught up. */
export interface Caught {
  readonly lastResourceVersion: string;
  get(key: string): { metadata: { uid?: string; deletionTimestamp?: string } } | undefined;
}

interface Pending {
  readonly since: number;
  readonly seen: () => boolean;
}

/** After this time the cache is believed again, whatever was written: the object may have gone another way. */
const GIVE_UP_MS = 10_000;
/** How soon to look again when no event arrives. */
export const LOOK_AGAIN_MS = 500;

/**
 * Remembers what was written for a key until the caches show it.
 *
 * A controller that reconciles from a cache which does not hold its own last write would do the same again: a second
 * set of pods, a second slice. Resource versions of one kind are compared as numbers (KEP-5504).
 */
export class OwnWrites {
  readonly #pending = new Map<string, Pending[]>();

  /** `object` is what the server answered to a create, update or patch. */
  wrote(key: string, informer: Caught, object: KubeObject): void {
    const version = object.metadata.resourceVersion;
    if (version === undefined) return;
    this.#add(key, () => compareVersions(informer.lastResourceVersion, version) >= 0);
  }

  /** The object `objectKey` of that uid was deleted, or is being deleted from now on. */
  deleted(key: string, informer: Caught, objectKey: string, uid: string | undefined): void {
    this.#add(key, () => {
      const meta = informer.get(objectKey)?.metadata;
      return meta === undefined || meta.uid !== uid || meta.deletionTimestamp !== undefined;
    });
  }

  /** True when the caches hold everything that was written for the key. */
  seen(key: string): boolean {
    const pending = this.#pending.get(key);
    if (pending === undefined) return true;
    const now = Date.now();
    const left = pending.filter((p) => now - p.since < GIVE_UP_MS && !p.seen());
    if (left.length > 0) {
      this.#pending.set(key, left);
      return false;
    }
    this.#pending.delete(key);
    return true;
  }

  forget(key: string): void {
    this.#pending.delete(key);
  }

  #add(key: string, seen: () => boolean): void {
    const list = this.#pending.get(key);
    const entry = { since: Date.now(), seen };
    if (list === undefined) this.#pending.set(key, [entry]);
    else list.push(entry);
  }
}

/** Orders resource versions, which are decimal numbers of any length; the empty one is the oldest. */
export function compareVersions(a: string, b: string): number {
  if (a.length !== b.length) return a.length - b.length;
  return a < b ? -1 : a > b ? 1 : 0;
}
