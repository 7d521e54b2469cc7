import {
  addressResources,
  isStatus,
  type KubeClient,
  type KubeObject,
  type Node,
  type ResourceType,
  resources,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { type AddressObjects, compileStale, type Stale } from './compile.ts';

const NAME = 'address-gc-controller';
/** A node that has been gone for so long does not come back under its name with living pods. Milliseconds. */
const GRACE_MS = 300_000;
/** Time between looks at everything, milliseconds. */
const PERIOD_MS = 60_000;

export interface AddressGcOptions {
  /** How long a node must have been gone before what it left is removed. Default 5 min. */
  readonly graceMs?: number;
  /** Default 1 min. */
  readonly periodMs?: number;
}

/**
 * Takes away what deleted nodes have left of pools: blocks, affinities, borrowed addresses, handles. It asks the server
 * afresh for every look, so that it never acts on what a watch has missed, and a look costs nothing in between. Nodes
 * tidy up after themselves for as long as they exist.
 */
export function addressGcController(context: ControllerContext, options: AddressGcOptions = {}): Controller {
  const { client, informers, log, signal } = context;
  const { graceMs = GRACE_MS, periodMs = PERIOD_MS } = options;
  const nodes = informers.of<Node>(resources.nodes);
  /** Node → when it was first found missing, and handle → likewise. */
  const missing = new Map<string, number>();
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 1 }, reconcile);

  async function reconcile(): Promise<Again> {
    const world = await read(client);
    if (world === undefined) return periodMs;
    const now = Date.now();
    const present = new Set(nodes.list().map((node) => node.metadata.name));
    const named = [
      ...world.blocks.flatMap((b) => (b.spec.affinity?.startsWith('host:') === true ? [b.spec.affinity.slice(5)] : [])),
      ...world.affinities.map((a) => a.spec.node),
      ...world.loans.map((l) => l.spec.node),
    ];
    const candidates = new Set(named.filter((name) => !present.has(name)));
    const everywhere = compileStale({ ...world, nodes: present });
    for (const { object } of everywhere.handles) candidates.add(`handle ${object.metadata.name}`);
    for (const key of missing.keys()) if (!candidates.has(key)) missing.delete(key);
    for (const key of candidates) if (!missing.has(key)) missing.set(key, now);
    const old = (key: string): boolean => now - (missing.get(key) ?? now) >= graceMs;
    const counted = new Set([...present, ...[...candidates].filter((key) => !old(key))]);
    const stale = compileStale({ ...world, nodes: counted });
    // Loans first: whoever claims a block next must not find addresses of it lent to nobody.
    await remove(addressResources.addressloans, stale.loans);
    await remove(addressResources.ipamblocks, stale.blocks);
    await remove(addressResources.blockaffinities, stale.affinities);
    await remove(
      addressResources.ipamhandles,
      stale.handles.filter(({ object }) => old(`handle ${object.metadata.name}`)),
    );
    return candidates.size === 0 ? periodMs : Math.min(periodMs, Math.max(1000, graceMs));
  }

  async function remove<T extends KubeObject>(type: ResourceType<T>, list: readonly Stale<T>[]): Promise<void> {
    for (const { object, why } of list) {
      const { name, uid, resourceVersion } = object.metadata;
      try {
        // Only what was looked at: an object that has changed since is looked at again.
        await client.delete(type, undefined, name, {
          ...(uid === undefined ? {} : { uid }),
          ...(resourceVersion === undefined ? {} : { resourceVersion }),
        });
        log.info('removed what a node had left', { kind: type.kind, name, why });
      } catch (error) {
        if (isStatus(error, 'NotFound') || isStatus(error, 'Conflict')) continue;
        log.warn('cannot remove what a node had left', { kind: type.kind, name, error: errorMessage(error) });
      }
    }
  }

  const off = nodes.on({ delete: () => queue.add('all') });
  signal.addEventListener('abort', off, { once: true });
  return {
    name: NAME,
    needs: [nodes],
    begin: () => {
      queue.add('all');
      queue.release();
    },
    idle: () => queue.idle(),
  };
}

/** Everything there is; undefined where the kinds are not served. */
async function read(client: KubeClient): Promise<Omit<AddressObjects, 'nodes'> | undefined> {
  const all = async <T extends KubeObject>(type: ResourceType<T>): Promise<readonly T[]> => {
    try {
      return (await client.list(type, undefined)).items;
    } catch (error) {
      if (isStatus(error, 'NotFound')) return [];
      throw error;
    }
  };
  const [blocks, affinities, loans] = await Promise.all([
    all(addressResources.ipamblocks),
    all(addressResources.blockaffinities),
    all(addressResources.addressloans),
  ]);
  // After the blocks: a handle is made after its block names it.
  const handles = await all(addressResources.ipamhandles);
  return blocks.length + affinities.length + loans.length + handles.length === 0
    ? undefined
    : { blocks, affinities, handles, loans };
}
