import { type Allocation, blockName, type Ipam } from '@weft/cni';
import { addressResources, type IPAMBlock, type KubeClient } from '@weft/kube';
import { addressAt, formatIp, formatPrefix, parseIp, parsePrefix, prefixContains, prefixSize } from '@weft/net';
import { type Diff, type Entry, type Logger, type Metrics, type Plan, PlanLoop } from '@weft/plan';
import type { AddressCache } from './cache.ts';
import { ignore } from './keeper.ts';

/** Content of a block's object. */
interface BlockEntry {
  readonly type: 'block';
  readonly cidr: string;
  readonly allocations: readonly (number | null)[];
  readonly attributes: IPAMBlock['spec']['attributes'];
  readonly unallocated: readonly number[];
}

/** The handle of an attachment: how many addresses of the block are its own. */
interface HandleEntry {
  readonly type: 'handle';
  readonly id: string;
  readonly cidr: string;
  readonly count: number;
}

type Published = BlockEntry | HandleEntry;

export interface PublisherOptions {
  readonly nodeName: string;
  readonly client: KubeClient;
  readonly cache: AddressCache;
  readonly ipam: () => Ipam | undefined;
  readonly blocks: () => ReadonlyMap<string, string | undefined>;
  readonly log: Logger;
  readonly metrics: Metrics;
}

/** Shortest time between two writes, milliseconds: many pods at once are one write. */
const INTERVAL_MS = 200;

/** Name of the handle of an attachment, as Calico's CNI plugin forms it. */
function handleOf(allocation: Pick<Allocation, 'network' | 'containerId'>): string {
  return `${allocation.network}.${allocation.containerId}`.toLowerCase();
}

/** What the API is to say of a block of this node (pure). */
export function compileBlock(
  cidr: string,
  ipam: Pick<Ipam, 'ownerOf' | 'heldFor'>,
  node: string,
): readonly Published[] {
  const block = parsePrefix(cidr);
  if (block === undefined) return [];
  const allocations: (number | null)[] = [];
  const attributes: { handle_id: string; secondary: Record<string, string> }[] = [];
  const indexes = new Map<string, number>();
  const counts = new Map<string, number>();
  const unallocated: number[] = [];
  for (let at = 0; at < Number(prefixSize(block)); at++) {
    const address = formatIp(addressAt(block, at));
    const owner = ipam.ownerOf(address);
    const holder = ipam.heldFor(address);
    if (owner === undefined && holder === undefined) {
      allocations.push(null);
      unallocated.push(at);
      continue;
    }
    const id = owner === undefined ? `kept.${holder?.replace(/[^A-Za-z0-9]+/g, '-').toLowerCase()}` : handleOf(owner);
    let index = indexes.get(id);
    if (index === undefined) {
      index = attributes.length;
      indexes.set(id, index);
      attributes.push({
        handle_id: id,
        secondary: owner === undefined ? { note: `kept for ${holder}` } : about(owner, node),
      });
    }
    allocations.push(index);
    if (owner !== undefined) counts.set(id, (counts.get(id) ?? 0) + 1);
  }
  return [
    { type: 'block', cidr, allocations, attributes, unallocated },
    ...[...counts].map(([id, count]): HandleEntry => ({ type: 'handle', id, cidr, count })),
  ];
}

function about(owner: Allocation, node: string): Record<string, string> {
  return {
    node,
    timestamp: new Date(owner.since).toISOString(),
    ...(owner.pod === undefined ? {} : { namespace: owner.pod.namespace, pod: owner.pod.name }),
  };
}

/** Tells the API which addresses of this node's blocks are whose, soon after the fact: nothing waits for it. */
export class BlockPublisher {
  readonly #options: PublisherOptions;
  readonly #loop: PlanLoop<Published>;

  constructor(options: PublisherOptions) {
    this.#options = options;
    const { log, metrics } = options;
    const subsystem = {
      name: 'address-blocks',
      compile: (unit: string): Plan<Published> => this.#compile(unit),
      apply: (diff: Diff<Published>): Promise<void> => this.#apply(diff),
    };
    this.#loop = new PlanLoop<Published>(subsystem, { log, metrics, minIntervalMs: INTERVAL_MS });
  }

  touchAll(): void {
    for (const [cidr, node] of this.#options.blocks()) if (node === this.#options.nodeName) this.#loop.touch(cidr);
  }

  /** A block was made or removed, by this node or by others. */
  touchBlock(cidr: string): void {
    if (this.#options.blocks().get(cidr) === this.#options.nodeName || this.#loop.applied.has(`block/${cidr}`)) {
      this.#loop.touch(cidr);
    }
  }

  /** Addresses were taken or freed. */
  touch(addresses: readonly string[]): void {
    const mine = [...this.#options.blocks()].flatMap(([cidr, node]) => {
      const prefix = node === this.#options.nodeName ? parsePrefix(cidr) : undefined;
      return prefix === undefined ? [] : [prefix];
    });
    for (const address of addresses) {
      const ip = parseIp(address);
      const block = ip === undefined ? undefined : mine.find((b) => prefixContains(b, ip));
      if (block !== undefined) this.#loop.touch(formatPrefix(block));
    }
  }

  stop(): Promise<void> {
    return this.#loop.stop();
  }

  #compile(cidr: string): Plan<Published> {
    const { blocks, ipam, nodeName } = this.#options;
    const store = ipam();
    if (store === undefined || blocks().get(cidr) !== nodeName) return new Map();
    const cause = { kind: 'IPAMBlock', name: blockName(cidr) };
    return new Map(
      compileBlock(cidr, store, nodeName).map((value): [string, Entry<Published>] => [
        value.type === 'block' ? `block/${cidr}` : `handle/${value.id}/${cidr}`,
        { value, cause },
      ]),
    );
  }

  async #apply(diff: Diff<Published>): Promise<void> {
    const { client } = this.#options;
    const put = [...diff.added.values(), ...[...diff.changed.values()].map((change) => change.to)];
    for (const { value } of put) {
      if (value.type === 'block') {
        const { allocations, attributes, unallocated } = value;
        const spec = { allocations, attributes, unallocated };
        await client
          .patch(addressResources.ipamblocks, undefined, blockName(value.cidr), { spec })
          .catch(ignore('NotFound'));
      } else {
        const spec = { handleID: value.id, block: { [value.cidr]: value.count }, deleted: false };
        await client
          .create(addressResources.ipamhandles, { metadata: { name: value.id }, spec })
          .catch(ignore('AlreadyExists'));
      }
    }
    for (const { value } of diff.removed.values()) {
      if (value.type !== 'handle') continue;
      await client.delete(addressResources.ipamhandles, undefined, value.id).catch(ignore('NotFound'));
    }
  }
}
