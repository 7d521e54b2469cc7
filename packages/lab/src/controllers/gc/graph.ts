import type { KubeObject, OwnerReference, ResourceType } from '@weft/kube';

/** An object as far as ownership goes. */
export interface Item {
  readonly uid: string;
  readonly type: ResourceType;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly resourceVersion: string | undefined;
  readonly owners: readonly OwnerReference[];
  readonly finalizers: readonly string[];
  readonly deleting: boolean;
}

export function itemOf(type: ResourceType, object: KubeObject): Item {
  const {
    uid = '',
    namespace,
    name,
    resourceVersion,
    ownerReferences,
    finalizers,
    deletionTimestamp,
  } = object.metadata;
  return {
    uid,
    type,
    namespace,
    name,
    resourceVersion,
    owners: ownerReferences ?? NONE,
    finalizers: finalizers ?? NONE,
    deleting: deletionTimestamp !== undefined,
  };
}

const NONE: readonly never[] = [];

/** Who owns whom, by uid. */
export class OwnerGraph {
  readonly #items = new Map<string, Item>();
  readonly #dependents = new Map<string, Set<string>>();

  get(uid: string): Item | undefined {
    return this.#items.get(uid);
  }

  set(item: Item): void {
    const old = this.#items.get(item.uid);
    if (old !== undefined) this.#unlink(old);
    this.#items.set(item.uid, item);
    for (const { uid } of item.owners) {
      let set = this.#dependents.get(uid);
      if (set === undefined) this.#dependents.set(uid, (set = new Set()));
      set.add(item.uid);
    }
  }

  delete(uid: string): void {
    const old = this.#items.get(uid);
    if (old === undefined) return;
    this.#unlink(old);
    this.#items.delete(uid);
  }

  /** Objects that name `uid` as an owner, whether that exists or not. */
  dependents(uid: string): Item[] {
    const out: Item[] = [];
    for (const id of this.#dependents.get(uid) ?? []) {
      const item = this.#items.get(id);
      if (item !== undefined) out.push(item);
    }
    return out;
  }

  /** Objects with an owner that is not in the graph. */
  unresolved(): Item[] {
    return [...this.#items.values()].filter((item) => item.owners.some(({ uid }) => !this.#items.has(uid)));
  }

  #unlink(item: Item): void {
    for (const { uid } of item.owners) {
      const set = this.#dependents.get(uid);
      set?.delete(item.uid);
      if (set?.size === 0) this.#dependents.delete(uid);
    }
  }
}

/** What has become of one owner of an object. */
export type OwnerState = 'alive' | 'gone' | 'waiting';

/** What has to be done about an object. */
export type Verdict =
  | { readonly action: 'none' }
  /** Only these owners are left. */
  | { readonly action: 'drop-owners'; readonly keep: readonly OwnerReference[] }
  | { readonly action: 'delete'; readonly policy: 'Background' | 'Foreground' | 'Orphan' }
  /** Take the object out of its dependents' owners, then let it go. */
  | { readonly action: 'orphan'; readonly dependents: readonly Item[] }
  /** All that blocked it is gone. */
  | { readonly action: 'unblock' }
  /** These have to go before it. */
  | { readonly action: 'wait'; readonly dependents: readonly Item[] };

const ORPHAN = 'orphan';
const FOREGROUND = 'foregroundDeletion';

/** True while an object waits for its dependents to go first. */
export function isWaiting(item: Item): boolean {
  return item.deleting && item.finalizers.includes(FOREGROUND);
}

/** The garbage collector's rules for one object (kubernetes.io/docs/concepts/architecture/garbage-collection). */
export function judge(item: Item, graph: OwnerGraph, states: ReadonlyMap<string, OwnerState>): Verdict {
  const dependents = graph.dependents(item.uid);
  if (item.deleting) {
    if (item.finalizers.includes(ORPHAN)) return { action: 'orphan', dependents };
    if (!item.finalizers.includes(FOREGROUND)) return { action: 'none' };
    const blocking = dependents.filter((d) =>
      d.owners.some((o) => o.uid === item.uid && o.blockOwnerDeletion === true),
    );
    return blocking.length === 0 ? { action: 'unblock' } : { action: 'wait', dependents: blocking };
  }
  if (item.owners.length === 0) return { action: 'none' };
  const alive = item.owners.filter((owner) => states.get(owner.uid) === 'alive');
  if (alive.length === item.owners.length) return { action: 'none' };
  if (alive.length > 0) return { action: 'drop-owners', keep: alive };
  const waiting = item.owners.some((owner) => states.get(owner.uid) === 'waiting');
  // A whole tree goes in the foreground when its root does.
  if (waiting && dependents.length > 0) return { action: 'delete', policy: 'Foreground' };
  if (item.finalizers.includes(ORPHAN)) return { action: 'delete', policy: 'Orphan' };
  return { action: 'delete', policy: item.finalizers.includes(FOREGROUND) ? 'Foreground' : 'Background' };
}
