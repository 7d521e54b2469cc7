import { type Again, type Controller, type ControllerContext, WorkQueue } from '@weft/controllers';
import {
  findResource,
  groupResource,
  isStatus,
  type KubeObject,
  type OwnerReference,
  type ResourceType,
  resources,
} from '@weft/kube';
import { ignoreGone } from '../common/gone.ts';
import { discover, type Served } from './discovery.ts';
import { isWaiting, type Item, itemOf, judge, OwnerGraph, type OwnerState } from './graph.ts';

const NAME = 'garbage-collector';
/** Owners known to be gone; more than this are forgotten and asked for again. */
const GONE_SIZE = 5000;
/** How long after a change of the custom kinds the server is asked what it serves. */
const REDISCOVER_MS = 200;

/**
 * Deletes objects whose owners are gone, in the order that the deletion of the owner asked for (Background, Foreground,
 * Orphan). It follows the metadata of every kind that the server serves, custom ones included. Before anything is
 * deleted for an owner that it has never seen, the server is asked.
 */
export function garbageCollector(context: ControllerContext): Controller {
  const { client, informers, log, signal } = context;
  const graph = new OwnerGraph();
  const gone = new Set<string>();
  /** Kinds by name, and how to stop following them. */
  const followed = new Map<string, () => void>();
  let served: Served | undefined;
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 16 }, reconcile);

  async function reconcile(uid: string): Promise<Again> {
    const item = graph.get(uid);
    if (item === undefined) return undefined;
    const states = new Map<string, OwnerState>();
    if (!item.deleting) for (const owner of item.owners) states.set(owner.uid, await stateOf(item, owner));
    // What was asked of the server may have taken a while.
    if (graph.get(uid) !== item) return 0;
    const verdict = judge(item, graph, states);
    switch (verdict.action) {
      case 'none':
        return undefined;
      case 'drop-owners':
        await patchOwners(item, verdict.keep);
        return undefined;
      case 'delete':
        log.debug('deleting an object whose owners are gone', {
          object: `${item.type.kind} ${item.namespace ?? ''}/${item.name}`,
          policy: verdict.policy,
        });
        await ignoreGone(() =>
          client.delete(item.type, item.namespace, item.name, {
            uid,
            propagationPolicy: verdict.policy,
            ...(item.resourceVersion === undefined ? {} : { resourceVersion: item.resourceVersion }),
          }),
        );
        return undefined;
      case 'orphan':
        await Promise.all(
          verdict.dependents.map((d) =>
            patchOwners(
              d,
              d.owners.filter((owner) => owner.uid !== uid),
            ),
          ),
        );
        await dropFinalizer(item, 'orphan');
        return undefined;
      case 'unblock':
        await dropFinalizer(item, 'foregroundDeletion');
        return undefined;
      case 'wait':
        for (const dependent of verdict.dependents) if (!dependent.deleting) queue.add(dependent.uid);
        return undefined;
    }
  }

  async function stateOf(item: Item, owner: OwnerReference): Promise<OwnerState> {
    const known = graph.get(owner.uid);
    if (known !== undefined) {
      // An owner in another namespace counts as none.
      if (known.namespace !== undefined && known.namespace !== item.namespace) return 'gone';
      return isWaiting(known) ? 'waiting' : 'alive';
    }
    if (gone.has(owner.uid)) return 'gone';
    const type = served?.find(owner.apiVersion, owner.kind);
    // Of a kind that is not served nothing can be said.
    if (type === undefined || (type.namespaced && item.namespace === undefined)) return 'alive';
    try {
      const found = await client.get<KubeObject>(type, type.namespaced ? item.namespace : undefined, owner.name);
      if (found.metadata.uid === owner.uid) return 'alive';
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
    forget(owner.uid);
    return 'gone';
  }

  function forget(uid: string): void {
    gone.add(uid);
    if (gone.size <= GONE_SIZE) return;
    for (const oldest of gone) {
      gone.delete(oldest);
      return;
    }
  }

  async function patchOwners(item: Item, owners: readonly OwnerReference[]): Promise<void> {
    const { uid, resourceVersion } = item;
    const patch = { metadata: { uid, resourceVersion, ownerReferences: owners.length === 0 ? null : owners } };
    await ignoreGone(() => client.patch(item.type, item.namespace, item.name, patch));
  }

  async function dropFinalizer(item: Item, finalizer: string): Promise<void> {
    const finalizers = item.finalizers.filter((f) => f !== finalizer);
    const { uid, resourceVersion } = item;
    const patch = { metadata: { uid, resourceVersion, finalizers: finalizers.length === 0 ? null : finalizers } };
    await ignoreGone(() => client.patch(item.type, item.namespace, item.name, patch));
  }

  function changed(item: Item, before: Item | undefined): void {
    graph.set(item);
    if (item.deleting) {
      if (item.finalizers.length > 0) queue.add(item.uid);
      if (isWaiting(item) && (before === undefined || !isWaiting(before))) {
        for (const dependent of graph.dependents(item.uid)) queue.add(dependent.uid);
      }
    } else if (item.owners.length > 0 && (before === undefined || !sameOwners(before.owners, item.owners)))
      queue.add(item.uid);
    // An owner that waits may have waited for this one.
    for (const { uid } of before?.owners ?? []) {
      const owner = graph.get(uid);
      if (owner !== undefined && isWaiting(owner)) queue.add(uid);
    }
  }

  function removed(item: Item): void {
    graph.delete(item.uid);
    forget(item.uid);
    for (const dependent of graph.dependents(item.uid)) queue.add(dependent.uid);
    for (const { uid } of item.owners) {
      const owner = graph.get(uid);
      if (owner !== undefined && isWaiting(owner)) queue.add(uid);
    }
  }

  function follow(type: ResourceType): { readonly synced: Promise<void> } {
    const informer = informers.metadataOf(type);
    const unfollow = informer.on({
      add: (object) => changed(itemOf(type, object), undefined),
      update: (before, after) => {
        const old = itemOf(type, before);
        // The same name can stand for another object.
        if (old.uid !== after.metadata.uid) removed(old);
        changed(itemOf(type, after), graph.get(after.metadata.uid ?? ''));
      },
      delete: (object) => removed(itemOf(type, object)),
    });
    followed.set(groupResource(type), () => {
      unfollow();
      for (const object of informer.list()) removed(itemOf(type, object));
      informers.dropMetadata(type);
    });
    return informer;
  }

  /** Follows kinds that are new and no longer those that are gone. Resolves when the new ones have been read. */
  async function rediscover(): Promise<void> {
    served = await discover(client);
    const fresh = served.types.filter((type) => !followed.has(groupResource(type)));
    const ids = new Set(served.types.map(groupResource));
    for (const [id, stop] of followed) {
      // A group whose own server does not answer is no reason: only custom kinds come and go.
      if (ids.has(id) || findResource(id) !== undefined) continue;
      followed.delete(id);
      stop();
    }
    await Promise.all(fresh.map((type) => follow(type).synced));
    // Owners of kinds that were not known before may have come and gone unseen.
    if (fresh.length > 0) for (const item of graph.unresolved()) queue.add(item.uid);
  }

  const definitions = informers.metadataOf(resources.customresourcedefinitions);
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    if (timer !== undefined || signal.aborted) return;
    timer = setTimeout(() => {
      timer = undefined;
      rediscover().catch((error: unknown) => {
        if (signal.aborted) return;
        log.warn('cannot find out which kinds the server serves, trying again', { error });
        look();
      });
    }, REDISCOVER_MS);
  };
  signal.addEventListener('abort', () => clearTimeout(timer), { once: true });
  const discovered = (async () => {
    for (;;) {
      try {
        await rediscover();
        break;
      } catch (error) {
        signal.throwIfAborted();
        log.warn('cannot find out which kinds the server serves, trying again', { error });
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
    }
    definitions.on({ add: look, update: look, delete: look });
  })();
  // Nobody has to wait for it.
  discovered.catch(() => {});

  return {
    name: NAME,
    needs: [{ synced: discovered }],
    begin: () => queue.release(),
    idle: () => queue.idle(),
  };
}

function sameOwners(a: readonly OwnerReference[], b: readonly OwnerReference[]): boolean {
  return a.length === b.length && a.every((owner, i) => owner.uid === b[i]?.uid);
}
