import { blockName, blockOf, freeBlock, type Ipam, type IpPool, poolOf, rangesOfBlock, readPools } from '@weft/cni';
import { addressResources, isStatus, type KubeClient } from '@weft/kube';
import {
  formatIp,
  formatPrefix,
  addressAt,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixSize,
} from '@weft/net';
import { errorMessage, type Logger } from '@weft/plan';
import { podCidrsOf } from '../nodes.ts';
import type { AddressCache } from './cache.ts';

/** Blocks that one node has at most, unless the configuration says otherwise; as in Calico. */
const MAX_BLOCKS = 20;
/** How often another block is tried when somebody else was first. */
const TRIES = 16;
/** A block that has been empty for so long is given back when the node has others. Milliseconds. */
const EMPTY_MS = 60_000;

/** What the claim of a block came to: the block, or why there is none. */
export type Claimed = { readonly block: Prefix } | { readonly why: string };

export interface KeeperOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly cache: AddressCache;
  readonly ipam: () => Ipam | undefined;
  /** Called as soon as this node may give out addresses of a block, before any is: what is lent of it must be known. */
  readonly claimed?: () => void;
  readonly log: Logger;
  readonly now?: () => number;
}

/**
 * The blocks of this node. A block is claimed by making its object, which only one can: first a pending affinity, then
 * the block, then the affinity is confirmed. What was cut off in between is finished or undone at the next start.
 */
export class BlockKeeper {
  readonly #options: KeeperOptions;
  readonly #log: Logger;
  readonly #now: () => number;
  /** Claimed, and perhaps not in the cache yet. */
  readonly #fresh = new Set<string>();
  /** Being given back: nothing is taken from them any more. */
  readonly #leaving = new Set<string>();
  readonly #claims = new Map<string, Promise<Claimed>>();
  readonly #emptySince = new Map<string, number>();
  /** What `blocks` answered last, while it is still true: every ADD asks. */
  #known: ReadonlyMap<string, string | undefined> | undefined;
  #tail: Promise<unknown> = Promise.resolve();

  constructor(options: KeeperOptions) {
    this.#options = options;
    this.#log = options.log;
    this.#now = options.now ?? Date.now;
    options.cache.onChange((change) => {
      if (change === 'blocks') this.#known = undefined;
    });
  }

  /** Text of every block that exists → its node, as this node may use them. */
  blocks(): ReadonlyMap<string, string | undefined> {
    const { cache, nodeName } = this.#options;
    if (this.#known !== undefined) return this.#known;
    const blocks = new Map<string, string | undefined>();
    for (const { cidr, node } of cache.blocks()) {
      if (node === nodeName) this.#fresh.delete(cidr);
      blocks.set(cidr, this.#leaving.has(cidr) ? undefined : node);
    }
    for (const cidr of this.#fresh) blocks.set(cidr, nodeName);
    this.#known = blocks;
    return blocks;
  }

  /** This node's blocks of a pool. */
  own(pool: IpPool): readonly Prefix[] {
    const { nodeName } = this.#options;
    return [...this.blocks()]
      .filter(([, node]) => node === nodeName)
      .map(([cidr]) => parsePrefix(cidr) as Prefix)
      .filter((block) => prefixContains(pool.prefix, block.ip));
  }

  /** Claims one more block of the pool; calls for one pool at a time share one claim. */
  claim(pool: IpPool): Promise<Claimed> {
    let claim = this.#claims.get(pool.name);
    if (claim === undefined) {
      claim = this.#inOrder(() => this.#claimNext(pool)).finally(() => this.#claims.delete(pool.name));
      this.#claims.set(pool.name, claim);
    }
    return claim;
  }

  /** Claims this very block, for an address in it that a pod asks for by name. */
  claimBlock(pool: IpPool, block: Prefix): Promise<Claimed> {
    return this.#inOrder(async () => {
      const cidr = formatPrefix(block);
      if (this.blocks().get(cidr) === this.#options.nodeName) return { block };
      const refusal = this.#refusal(pool);
      if (refusal !== undefined) return { why: refusal };
      return (await this.#make(block)) ? { block } : { why: `another node has just taken the block ${cidr}` };
    });
  }

  /** Why this node may claim nothing of a pool by itself. */
  #refusal(pool: IpPool): string | undefined {
    const { autoAllocateBlocks, maxBlocksPerHost } = this.#options.cache.config();
    if (autoAllocateBlocks === false) return 'IPAMConfig default: autoAllocateBlocks is false';
    const most = maxBlocksPerHost === undefined ? MAX_BLOCKS : maxBlocksPerHost;
    const have = [...this.blocks().values()].filter((node) => node === this.#options.nodeName).length;
    if (most > 0 && have >= most) return `the node has ${have} blocks, maxBlocksPerHost is ${most}`;
    return pool.enabled ? undefined : `pool ${pool.name} is disabled`;
  }

  async #claimNext(pool: IpPool): Promise<Claimed> {
    const { cache, nodeName } = this.#options;
    const refusal = this.#refusal(pool);
    if (refusal !== undefined) return { why: refusal };
    const lost = new Set<string>();
    for (let i = 0; i < TRIES; i++) {
      const cidrs = cache.nodes().flatMap((node) =>
        podCidrsOf(node).flatMap((text) => {
          const prefix = parsePrefix(text);
          return prefix === undefined ? [] : [{ mine: node.metadata.name === nodeName, prefix }];
        }),
      );
      const block = freeBlock(pool, nodeName, {
        taken: new Set([...this.blocks().keys(), ...lost]),
        foreign: cidrs.filter((c) => !c.mine).map((c) => c.prefix),
        own: cidrs.filter((c) => c.mine).map((c) => c.prefix),
        reserved: this.reserved(),
      });
      if (block === undefined) return { why: `pool ${pool.name} has no free block` };
      if (await this.#make(block)) return { block };
      lost.add(formatPrefix(block));
    }
    return { why: `other nodes were faster with all blocks of pool ${pool.name} that were tried` };
  }

  /** Blocks of addresses that no pod gets by itself. */
  reserved(): readonly Prefix[] {
    return this.#options.cache
      .reservations()
      .flatMap((r) => r.spec.reservedCIDRs ?? [])
      .map((text) => parsePrefix(text.includes('/') ? text : `${text}/${text.includes(':') ? 128 : 32}`))
      .filter((p): p is Prefix => p !== undefined);
  }

  /** True when the block is this node's now. */
  async #make(block: Prefix): Promise<boolean> {
    const { client, nodeName, cache } = this.#options;
    const cidr = formatPrefix(block);
    const affinity = this.#affinityName(cidr);
    const spec = { cidr, node: nodeName, state: 'pending' as const, deleted: 'false', type: 'host' };
    await client
      .create(addressResources.blockaffinities, { metadata: { name: affinity }, spec })
      .catch(ignore('AlreadyExists'));
    const name = blockName(block);
    const size = Number(prefixSize(block));
    try {
      await client.create(addressResources.ipamblocks, {
        metadata: { name },
        spec: {
          cidr,
          affinity: `host:${nodeName}`,
          allocations: Array.from({ length: size }, () => null),
          attributes: [],
          unallocated: Array.from({ length: size }, (_, i) => i),
          strictAffinity: cache.config().strictAffinity ?? false,
          deleted: false,
        },
      });
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) throw error;
      const there = await client.get(addressResources.ipamblocks, undefined, name).catch(ignore('NotFound'));
      if (there?.spec.affinity !== `host:${nodeName}`) {
        await client.delete(addressResources.blockaffinities, undefined, affinity).catch(ignore('NotFound'));
        return false;
      }
    }
    await client.patch(addressResources.blockaffinities, undefined, affinity, { spec: { state: 'confirmed' } });
    this.#leaving.delete(cidr);
    this.#known = undefined;
    this.#fresh.add(cidr);
    this.#known = undefined;
    this.#options.claimed?.();
    this.#log.info('claimed a block of addresses', { block: cidr });
    return true;
  }

  /** Brings what is kept about blocks in order: undoes claims that were cut off, gives empty blocks back. */
  tidy(): Promise<void> {
    return this.#inOrder(async () => {
      for (const block of this.#vanished()) await this.#restore(block);
      for (const cidr of this.#spare()) await this.#release(cidr);
    });
  }

  /** Finishes what an earlier life had begun. */
  recover(): Promise<void> {
    const { client, nodeName, cache } = this.#options;
    return this.#inOrder(async () => {
      if (!cache.hasPools) return;
      const { items } = await client.list(addressResources.blockaffinities, undefined);
      const have = this.blocks();
      for (const { metadata, spec } of items) {
        if (spec.node !== nodeName) continue;
        if (have.get(spec.cidr) !== nodeName) {
          await client.delete(addressResources.blockaffinities, undefined, metadata.name).catch(ignore('NotFound'));
        } else if (spec.state !== 'confirmed') {
          const patch = { spec: { state: 'confirmed' } };
          await client.patch(addressResources.blockaffinities, undefined, metadata.name, patch);
        }
      }
    });
  }

  /** Blocks without an object of which pods of this node have addresses: somebody has deleted it. */
  #vanished(): readonly Prefix[] {
    const { cache, nodeName, ipam } = this.#options;
    const store = ipam();
    if (store === undefined || !cache.synced) return [];
    const { pools } = readPools(cache.pools());
    const blocks = this.blocks();
    const gone = new Map<string, Prefix>();
    for (const address of store.list().flatMap((allocation) => allocation.addresses)) {
      const ip = parseIp(address);
      const pool = ip === undefined ? undefined : poolOf(pools, ip);
      if (ip === undefined || pool === undefined) continue;
      const block = blockOf(pool, ip);
      const borrowed = cache.loan(blockName(address))?.spec.node === nodeName;
      if (!borrowed && !blocks.has(formatPrefix(block))) gone.set(formatPrefix(block), block);
    }
    return [...gone.values()];
  }

  async #restore(block: Prefix): Promise<void> {
    const cidr = formatPrefix(block);
    this.#fresh.delete(cidr);
    this.#known = undefined;
    if (await this.#make(block)) {
      this.#log.warn('made a block again that was deleted while pods had addresses of it', { block: cidr });
    } else {
      this.#log.error('another node has a block of which pods of this node have addresses', { block: cidr });
    }
  }

  /** Blocks that hold nothing and that nobody needs: of pools that are gone, or beside others with room. */
  #spare(): readonly string[] {
    const { cache, nodeName, ipam } = this.#options;
    const store = ipam();
    if (store === undefined || !cache.synced) return [];
    const labels = cache.nodes().find((n) => n.metadata.name === nodeName)?.metadata.labels;
    const pools = readPools(cache.pools()).pools.filter((p) => p.enabled && p.selectsNode(labels));
    const spare: string[] = [];
    const roomy = new Set<string>();
    for (const [cidr, node] of this.blocks()) {
      if (node !== nodeName) continue;
      const block = parsePrefix(cidr) as Prefix;
      const pool = pools.find((p) => prefixContains(p.prefix, block.ip));
      const usage = store.usage({ family: block.ip.family, ranges: rangesOfBlock(block) });
      if (usage.used + usage.cooling > 0) {
        this.#emptySince.delete(cidr);
        if (pool !== undefined && BigInt(usage.used) * 2n < usage.total) roomy.add(pool.name);
        continue;
      }
      const since = this.#emptySince.get(cidr) ?? this.#now();
      this.#emptySince.set(cidr, since);
      if (this.#now() - since < EMPTY_MS) {
        if (pool !== undefined) roomy.add(pool.name);
        continue;
      }
      // The first empty one is kept, so that the next pod need not wait.
      if (pool === undefined || roomy.has(pool.name)) spare.push(cidr);
      else roomy.add(pool.name);
    }
    return spare;
  }

  async #release(cidr: string): Promise<void> {
    const { client, cache, ipam } = this.#options;
    const store = ipam();
    const block = parsePrefix(cidr);
    if (store === undefined || block === undefined) return;
    this.#leaving.add(cidr);
    this.#known = undefined;
    this.#fresh.delete(cidr);
    this.#known = undefined;
    // An ADD that chose before may reserve until here; from here on none does.
    const usage = store.usage({ family: block.ip.family, ranges: rangesOfBlock(block) });
    if (usage.used > 0) {
      this.#leaving.delete(cidr);
      this.#known = undefined;
      return;
    }
    const affinity = this.#affinityName(cidr);
    const patch = { spec: { state: 'pendingDeletion' } };
    await client.patch(addressResources.blockaffinities, undefined, affinity, patch).catch(ignore('NotFound'));
    await client.delete(addressResources.ipamblocks, undefined, blockName(cidr)).catch(ignore('NotFound'));
    await client.delete(addressResources.blockaffinities, undefined, affinity).catch(ignore('NotFound'));
    await cache.until(() => !cache.blocks().some((b) => b.cidr === cidr), 5000);
    this.#leaving.delete(cidr);
    this.#known = undefined;
    this.#emptySince.delete(cidr);
    this.#log.info('gave an empty block of addresses back', { block: cidr });
  }

  #affinityName(cidr: string): string {
    return `${this.#options.nodeName}-${blockName(cidr)}`;
  }

  /** One change at a time, so that two claims never look at the same free block. */
  #inOrder<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#tail.then(work);
    this.#tail = run.catch((error: unknown) => {
      this.#log.warn('cannot change the blocks of this node', { error: errorMessage(error) });
    });
    return run;
  }
}

/** For `.catch`: passes over one kind of refusal. */
export function ignore(reason: 'AlreadyExists' | 'NotFound' | 'Conflict'): (error: unknown) => undefined {
  return (error) => {
    if (isStatus(error, reason)) return undefined;
    throw error;
  };
}

/** Text of the address at a position of a block. */
export function addressText(block: Prefix, at: number): string {
  return formatIp(addressAt(block, at));
}
