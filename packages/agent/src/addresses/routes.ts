import { readPools } from '@weft/cni';
import type { BlockSource, FabricPool, NodeBlock } from '@weft/fabric';
import { parseIp } from '@weft/net';
import type { AddressCache } from './cache.ts';

/** Longest that a start waits for the blocks there are, milliseconds. */
const SYNC_MS = 30_000;

/** What leads to which node beside pod CIDRs: the blocks that nodes have, and addresses that they have borrowed. */
export class BlockRoutes implements BlockSource {
  readonly synced: Promise<void>;
  readonly #cache: AddressCache;
  readonly #changed = new Set<(nodes: readonly string[] | undefined) => void>();
  /** By node. */
  #blocks = new Map<string, NodeBlock[]>();
  #pools: readonly FabricPool[] = [];
  #pending: 'blocks' | 'pools' | undefined;

  constructor(cache: AddressCache) {
    this.#cache = cache;
    // An API that does not answer must not keep the routes to pod CIDRs from being made.
    this.synced = cache.whenSynced(SYNC_MS).then(() => {
      this.#blocks = this.#read();
      this.#pools = readPools(cache.pools()).pools;
    });
    cache.onChange((change) => {
      if (change === 'blocks' || change === 'loans') this.#later('blocks');
      if (change === 'pools') this.#later('pools');
    });
  }

  blocksOf(node: string): readonly NodeBlock[] {
    return this.#blocks.get(node) ?? [];
  }

  pools(): readonly FabricPool[] {
    return this.#pools;
  }

  on(changed: (nodes: readonly string[] | undefined) => void): () => void {
    this.#changed.add(changed);
    return () => void this.#changed.delete(changed);
  }

  /** Objects come in bursts; they are looked at once per turn of the event loop. */
  #later(what: 'blocks' | 'pools'): void {
    const idle = this.#pending === undefined;
    if (this.#pending !== 'pools') this.#pending = what;
    if (!idle) return;
    setImmediate(() => {
      const pools = this.#pending === 'pools';
      this.#pending = undefined;
      const before = this.#blocks;
      this.#blocks = this.#read();
      if (pools) {
        this.#pools = readPools(this.#cache.pools()).pools;
        for (const changed of this.#changed) changed(undefined);
        return;
      }
      const text = (blocks: readonly NodeBlock[] | undefined): string => (blocks ?? []).map((b) => b.cidr).join(' ');
      const names = [...new Set([...before.keys(), ...this.#blocks.keys()])].filter(
        (name) => text(before.get(name)) !== text(this.#blocks.get(name)),
      );
      if (names.length > 0) for (const changed of this.#changed) changed(names);
    });
  }

  #read(): Map<string, NodeBlock[]> {
    const blocks = new Map<string, NodeBlock[]>();
    const add = (node: string, block: NodeBlock): void => {
      const there = blocks.get(node);
      if (there === undefined) blocks.set(node, [block]);
      else there.push(block);
    };
    for (const { node, cidr, name } of this.#cache.blocks()) {
      if (node !== undefined) add(node, { cidr, kind: 'IPAMBlock', name });
    }
    for (const { metadata, spec, status } of this.#cache.loans()) {
      const ip = status?.phase === 'Granted' ? parseIp(spec.address) : undefined;
      if (ip === undefined) continue;
      add(spec.node, { cidr: `${spec.address}/${ip.bytes.length * 8}`, kind: 'AddressLoan', name: metadata.name });
    }
    for (const list of blocks.values()) list.sort((a, b) => (a.cidr < b.cidr ? -1 : 1));
    return blocks;
  }
}
