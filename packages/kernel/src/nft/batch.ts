import * as C from '../netlink/constants.ts';
import { get16, get32, NlReader, NlWriter } from '../netlink/wire.ts';
import { NFNL_MSG_BATCH_BEGIN, NFNL_MSG_BATCH_END, NFNL_SUBSYS_NFTABLES, NFT_MSG } from './constants.ts';
import { readData } from './data.ts';
import { beginElements, elementForm, formatKey, putElement, type SetTarget } from './elements.ts';
import {
  encodeChain,
  encodeChainRef,
  encodeRule,
  encodeRuleRef,
  encodeSet,
  encodeSetRef,
  encodeTable,
  encodeTableRef,
  nfgenmsg,
} from './objects.ts';
import type { ChainRef, ChainSpec, Element, RuleRef, RuleSpec, SetRef, SetSpec, TableRef, TableSpec } from './types.ts';

const CREATE = C.NLM_F_REQUEST | C.NLM_F_CREATE;
/** Nested attributes state their length in 16 bits; one element is far below the rest. */
const ELEMENTS_BYTES = 60_000;
const BATCH_GENID = 1;

/** What a message of a batch is about, for errors. */
export interface NftLabel {
  readonly operation: string;
  readonly object: () => string;
  /** Types of the keys, when elements are what the message carries. */
  readonly set?: SetTarget;
}

/**
 * A transaction in the making. Objects are encoded as they are added and refer to each other by name, earlier ones first.
 * It may be changed again only after `Nft.commit` has settled.
 */
export class NftBatch {
  readonly #writer: NlWriter;
  readonly #labels: NftLabel[] = [];
  #setId = 0;
  #deletes = false;

  constructor(capacity = 4096) {
    this.#writer = new NlWriter(capacity);
    this.#begin();
  }

  #begin(): void {
    this.#writer.begin(NFNL_MSG_BATCH_BEGIN, C.NLM_F_REQUEST);
    nfgenmsg(this.#writer, 0, NFNL_SUBSYS_NFTABLES);
    // Zero means "whatever generation": the place for a real one is kept.
    this.#writer.u32be(BATCH_GENID, 0);
    this.#writer.end();
    this.#labels.push({ operation: 'commit nft batch of', object: () => `${this.count} messages` });
  }

  /** Number of messages; elements of one call share messages. */
  get count(): number {
    return this.#labels.length - 1;
  }

  /** Encoded size. */
  get bytes(): number {
    return this.#writer.pos;
  }

  clear(): void {
    this.#writer.clear();
    this.#labels.length = 0;
    this.#setId = 0;
    this.#deletes = false;
    this.#begin();
  }

  #message(type: number, flags: number, label: NftLabel, body: (w: NlWriter) => void): void {
    const w = this.#writer;
    w.begin(type, flags);
    try {
      body(w);
    } catch (error) {
      w.drop();
      throw error;
    }
    w.end();
    this.#labels.push(label);
  }

  // ---- tables

  addTable(t: TableSpec): void {
    this.#message(NFT_MSG.NEWTABLE, CREATE, label('add nft table', t), (w) => encodeTable(w, t));
  }

  /** Deletes a table with all it holds. */
  delTable(t: TableRef): void {
    this.#deletes = true;
    this.#message(NFT_MSG.DELTABLE, C.NLM_F_REQUEST, label('delete nft table', t), (w) => encodeTableRef(w, t));
  }

  /** As `delTable`, but no error when there is none (made first, so that it works on kernels before 6.3). */
  destroyTable(t: TableRef): void {
    this.addTable(t);
    this.delTable(t);
  }

  // ---- chains

  addChain(c: ChainSpec): void {
    this.#message(NFT_MSG.NEWCHAIN, CREATE, label('add nft chain', c), (w) => encodeChain(w, c));
  }

  /** Deletes an empty chain nothing refers to. */
  delChain(c: ChainRef): void {
    this.#deletes = true;
    this.#message(NFT_MSG.DELCHAIN, C.NLM_F_REQUEST, label('delete nft chain', c), (w) => encodeChainRef(w, c));
  }

  /** Deletes all rules of a chain. */
  flushChain(c: ChainRef): void {
    this.#deletes = true;
    const rules = { family: c.family, table: c.table, chain: c.name };
    this.#message(NFT_MSG.DELRULE, C.NLM_F_REQUEST, label('flush nft chain', c), (w) => encodeRuleRef(w, rules));
  }

  // ---- rules

  /** Appends a rule, or adds it after `position`. */
  addRule(r: RuleSpec): void {
    this.#message(NFT_MSG.NEWRULE, CREATE | C.NLM_F_APPEND, ruleLabel('add nft rule to', r), (w) => encodeRule(w, r));
  }

  /** Puts a rule first, or before `position`. */
  insertRule(r: RuleSpec): void {
    this.#message(NFT_MSG.NEWRULE, CREATE, ruleLabel('insert nft rule into', r), (w) => encodeRule(w, r));
  }

  replaceRule(r: RuleSpec & { readonly handle: bigint }): void {
    this.#message(NFT_MSG.NEWRULE, C.NLM_F_REQUEST | C.NLM_F_REPLACE, ruleLabel('replace nft rule in', r), (w) =>
      encodeRule(w, r, r.handle),
    );
  }

  delRule(r: RuleRef): void {
    this.#deletes = true;
    this.#message(NFT_MSG.DELRULE, C.NLM_F_REQUEST, ruleLabel('delete nft rule of', r), (w) => encodeRuleRef(w, r));
  }

  // ---- sets and maps

  addSet(s: SetSpec): void {
    this.#setId += 1;
    const id = this.#setId;
    const what = s.data === undefined ? 'set' : 'map';
    this.#message(NFT_MSG.NEWSET, CREATE, label(`add nft ${what}`, s), (w) => encodeSet(w, s, id));
  }

  /** Deletes a set no rule refers to. */
  delSet(s: SetRef): void {
    this.#deletes = true;
    this.#message(NFT_MSG.DELSET, C.NLM_F_REQUEST, label('delete nft set', s), (w) => encodeSetRef(w, s));
  }

  /** Deletes all elements. */
  flushSet(s: SetRef): void {
    this.#deletes = true;
    this.#message(NFT_MSG.DELSETELEM, C.NLM_F_REQUEST, label('flush nft set', s), (w) => encodeSetRef(w, s));
  }

  addElements(set: SetTarget, elements: readonly Element[]): void {
    this.#elements(NFT_MSG.NEWSETELEM, CREATE, 'add elements to nft set', set, elements);
  }

  /** Deletes elements by key. All must be there, else the whole batch is refused. */
  delElements(set: SetTarget, elements: readonly Element[]): void {
    this.#elements(NFT_MSG.DELSETELEM, C.NLM_F_REQUEST, 'delete elements of nft set', set, elements);
  }

  #elements(type: number, flags: number, operation: string, set: SetTarget, elements: readonly Element[]): void {
    const w = this.#writer;
    const form = elementForm(set);
    const deleting = type === NFT_MSG.DELSETELEM;
    const about: NftLabel = { operation, object: () => name(set), set };
    for (let i = 0; i < elements.length; ) {
      this.#message(type, flags, about, () => {
        const mark = beginElements(w, set);
        for (; i < elements.length && w.pos - mark < ELEMENTS_BYTES; i++)
          putElement(w, elements[i] as Element, form, deleting);
        w.endNest(mark);
      });
    }
  }

  // ---- for Nft.commit

  /** @internal */
  encoded(genid: number): {
    readonly writer: NlWriter;
    readonly labels: readonly NftLabel[];
    readonly deletes: boolean;
  } {
    const w = this.#writer;
    // Behind nlmsghdr, nfgenmsg and the attribute header.
    new DataView(w.bytes.buffer, w.bytes.byteOffset).setUint32(24, genid);
    return { writer: w, labels: this.#labels, deletes: this.#deletes };
  }
}

/** Ends a batch; the writer must hold one from its beginning. */
export function putBatchEnd(w: NlWriter): void {
  w.begin(NFNL_MSG_BATCH_END, C.NLM_F_REQUEST);
  nfgenmsg(w, 0, NFNL_SUBSYS_NFTABLES);
  w.end();
}

export function putBatchBegin(w: NlWriter): void {
  w.begin(NFNL_MSG_BATCH_BEGIN, C.NLM_F_REQUEST);
  nfgenmsg(w, 0, NFNL_SUBSYS_NFTABLES);
  w.u32be(BATCH_GENID, 0);
  w.end();
}

function name(o: { readonly family: string; readonly table?: string; readonly name: string }): string {
  return o.table === undefined ? `${o.family} ${o.name}` : `${o.family} ${o.table} ${o.name}`;
}

function label(
  operation: string,
  o: { readonly family: string; readonly table?: string; readonly name: string },
): NftLabel {
  return { operation, object: () => name(o) };
}

function ruleLabel(
  operation: string,
  r: {
    readonly family: string;
    readonly table: string;
    readonly chain: string;
    readonly comment?: string;
    readonly handle?: bigint;
  },
): NftLabel {
  const tail = (): string =>
    r.handle !== undefined ? ` handle ${r.handle}` : r.comment !== undefined ? ` (${JSON.stringify(r.comment)})` : '';
  return { operation, object: () => `${r.family} ${r.table} ${r.chain}${tail()}` };
}

/** Name of the element that an error points at, if it points at one. */
export function elementAt(bytes: Uint8Array, start: number, offset: number, set: SetTarget): string | undefined {
  const at = start + offset;
  const end = start + get32(bytes, start);
  if (at + 4 > end || (get16(bytes, at + 2) & 0x3fff) !== 1) return undefined;
  const list = new NlReader(bytes, at, Math.min(end, at + get16(bytes, at)));
  if (!list.next()) return undefined;
  const elem = list.nested();
  while (elem.next()) {
    if (elem.type !== 1) continue;
    const key = readData(elem);
    if (key instanceof Uint8Array) return formatKey(key, 'key' in set ? set.key : undefined);
  }
  return undefined;
}
