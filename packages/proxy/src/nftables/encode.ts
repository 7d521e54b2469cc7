import type { Element, NftBatch, NftFamily, SetTarget } from '@weft/kernel';
import { lastAddress, parsePrefix, type Prefix } from '@weft/net';
import type { FamilyConfig } from '../config.ts';
import { type Changes, ElementList } from './changes.ts';
import { blockSets, CLASS_DROP, CLASS_REJECT, nftFamily, setSpecs, TABLE, tableComment } from './layout.ts';
import { type ChainText, gotoChain, type RuleText } from './rules.ts';

/** Elements handed over in one piece: bounds what is allocated at a time during a cold start. */
const CHUNK = 2048;

function target(family: NftFamily, name: string): { family: NftFamily; table: string; name: string } {
  return { family, table: TABLE, name };
}

function addChains(batch: NftBatch, family: NftFamily, chains: readonly ChainText[]): void {
  for (const chain of chains) {
    batch.addChain({
      family,
      table: TABLE,
      name: chain.name,
      ...(chain.hook === undefined ? {} : { hook: { ...chain.hook, type: 'nat' as const } }),
    });
  }
  for (const chain of chains) {
    for (const exprs of chain.rules) batch.addRule({ family, table: TABLE, chain: chain.name, exprs });
  }
}

/** Disjoint, sorted ranges as first and last address. The kernel refuses overlapping intervals. */
export function mergeBlocks(blocks: readonly Prefix[]): { first: Uint8Array; last: Uint8Array }[] {
  const ranges = blocks
    .map((block) => ({ first: block.ip.bytes, last: lastAddress(block).bytes }))
    .sort((a, b) => Buffer.compare(a.first, b.first) || Buffer.compare(b.last, a.last));
  const out: { first: Uint8Array; last: Uint8Array }[] = [];
  // Two prefixes are nested or disjoint: what begins inside the last range is covered by it.
  for (const range of ranges) {
    const last = out.at(-1);
    if (last === undefined || Buffer.compare(range.first, last.last) > 0) out.push(range);
  }
  return out;
}

function addBlocks(
  batch: NftBatch,
  set: { family: NftFamily; table: string; name: string },
  blocks: readonly Prefix[],
): void {
  batch.addElements(
    { ...set, interval: true },
    mergeBlocks(blocks).map(({ first, last }) => ({ key: first, keyEnd: last })),
  );
}

/** Writes a whole table without elements of the plan: maps, sets and the fixed chains. */
export function encodeTable(batch: NftBatch, config: FamilyConfig, text: RuleText): void {
  const family = nftFamily(config.family);
  batch.addTable({ family, name: TABLE, comment: tableComment(config) });
  for (const spec of setSpecs(config)) batch.addSet(spec);
  for (const { name, blocks } of blockSets(config)) addBlocks(batch, target(family, name), blocks);
  const chains = text.fixedChains();
  addChains(batch, family, chains);
  for (const [number, verdict] of [
    [CLASS_REJECT, gotoChain('reject-it')],
    [CLASS_DROP, 'drop'],
  ] as const) {
    batch.addElements(target(family, 'classes'), [{ key: classKey(number), data: verdict }]);
  }
}

function classKey(number: number): Uint8Array {
  return new ElementList(4, 0).u32((number << 20) >>> 0).key(0);
}

function writeList(batch: NftBatch, set: SetTarget, list: ElementList, deleting: boolean): void {
  for (let from = 0; from < list.count; from += CHUNK) {
    const elements: Element[] = [];
    for (let i = from; i < Math.min(list.count, from + CHUNK); i++) {
      const key = list.key(i);
      const comment = list.comments?.[i];
      if (deleting || list.dataWidth === 0) elements.push({ key });
      else elements.push(comment === undefined ? { key, data: list.data(i) } : { key, data: list.data(i), comment });
    }
    if (deleting) batch.delElements(set, elements);
    else batch.addElements(set, elements);
  }
}

/** Writes the changes of one family in their one order. */
export function encodeChanges(batch: NftBatch, changes: Changes, text: RuleText): void {
  const family = nftFamily(changes.family);
  const frontend = (key: string): Uint8Array => {
    const width = changes.sets.frontends.added.keyWidth;
    return new ElementList(width, 0).frontend(key).key(0);
  };
  for (const step of changes.steps()) {
    switch (step.do) {
      case 'addFirewall': {
        const set = target(family, step.add.set);
        batch.addSet({ ...set, key: changes.family === 4 ? 'ipv4_addr' : 'ipv6_addr', flags: { interval: true } });
        addBlocks(
          batch,
          set,
          step.add.ranges.map((range) => parsePrefix(range)).filter((prefix) => prefix !== undefined),
        );
        addChains(batch, family, [text.firewallChain(step.add.chain, step.add.set)]);
        break;
      }
      case 'addClass': {
        addChains(batch, family, step.add.chains);
        const data = gotoChain(step.add.chains.at(-1)?.name ?? '');
        batch.addElements(target(family, step.add.map), [{ key: classKey(step.add.number), data }]);
        break;
      }
      case 'guard':
        batch.addElements(target(family, 'firewall'), [{ key: frontend(step.key), data: { jump: step.chain } }]);
        break;
      case 'unguard':
        batch.delElements(target(family, 'firewall'), [{ key: frontend(step.key) }]);
        break;
      case 'write':
        writeList(batch, target(family, step.set), step.replaced, true);
        writeList(batch, target(family, step.set), step.added, false);
        break;
      case 'remove':
        writeList(batch, target(family, step.set), step.removed, true);
        break;
      case 'removeClass':
        batch.delElements(target(family, step.remove.map), [{ key: classKey(step.remove.number) }]);
        for (const name of step.remove.chains) batch.delChain({ family, table: TABLE, name });
        break;
      case 'removeFirewall':
        batch.delChain({ family, table: TABLE, name: step.remove.chain });
        batch.delSet(target(family, step.remove.set));
        break;
    }
  }
}
