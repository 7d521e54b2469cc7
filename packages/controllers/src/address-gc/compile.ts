import type { AddressLoan, BlockAffinity, IPAMBlock, IPAMHandle } from '@weft/kube';

/** The objects of address management, and who is alive. */
export interface AddressObjects {
  /** Nodes that exist, or that were deleted too recently to be counted as gone. */
  readonly nodes: ReadonlySet<string>;
  readonly blocks: readonly IPAMBlock[];
  readonly affinities: readonly BlockAffinity[];
  readonly handles: readonly IPAMHandle[];
  readonly loans: readonly AddressLoan[];
}

/** An object that nobody needs, and why: whose it was. */
export interface Stale<T> {
  readonly object: T;
  readonly why: string;
}

/** What is left of nodes that are gone. */
export interface StaleAddresses {
  readonly loans: readonly Stale<AddressLoan>[];
  readonly blocks: readonly Stale<IPAMBlock>[];
  readonly affinities: readonly Stale<BlockAffinity>[];
  readonly handles: readonly Stale<IPAMHandle>[];
}

function nodeOf(block: IPAMBlock): string | undefined {
  const { affinity } = block.spec;
  return affinity?.startsWith('host:') === true ? affinity.slice('host:'.length) : undefined;
}

function ownersOf(block: IPAMBlock): string {
  const pods = block.spec.attributes.flatMap(({ secondary }) =>
    secondary?.['pod'] === undefined ? [] : [`${secondary['namespace'] ?? ''}/${secondary['pod']}`],
  );
  return pods.length === 0 ? 'no pod had addresses of it' : `pods ${pods.slice(0, 10).join(', ')} had addresses of it`;
}

/**
 * Finds what nodes that are gone have left (pure): their blocks, their claims to blocks, and addresses that they had
 * borrowed. A node that is only not ready keeps everything. Addresses of such a block that living nodes have borrowed stay
 * theirs: their loans remain, and whoever claims the block next keeps them. Handles go when no block names them.
 */
export function compileStale(world: AddressObjects): StaleAddresses {
  const alive = (node: string): boolean => world.nodes.has(node);
  const loans = world.loans
    .filter((loan) => !alive(loan.spec.node))
    .map((object) => ({ object, why: `node ${object.spec.node}, which had borrowed it, is gone` }));
  const blocks = world.blocks.flatMap((object) => {
    const node = nodeOf(object);
    return node === undefined || alive(node) ? [] : [{ object, why: `node ${node} is gone; ${ownersOf(object)}` }];
  });
  const gone = new Set(blocks.map(({ object }) => object.spec.cidr));
  const owner = new Map(world.blocks.map((block) => [block.spec.cidr, nodeOf(block)]));
  const affinities = world.affinities
    .filter(({ spec }) => !alive(spec.node) && (gone.has(spec.cidr) || owner.get(spec.cidr) !== spec.node))
    .map((object) => ({ object, why: `node ${object.spec.node} is gone` }));
  const named = new Set(
    world.blocks
      .filter((block) => !gone.has(block.spec.cidr))
      .flatMap((block) => block.spec.attributes.map((attribute) => attribute.handle_id)),
  );
  const handles = world.handles
    .filter(({ spec }) => !named.has(spec.handleID))
    .map((object) => ({ object, why: 'no block names it' }));
  return { loans, blocks, affinities, handles };
}
