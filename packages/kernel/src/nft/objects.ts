import { EINVAL } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import {
  FAMILIES,
  familyName,
  hooksOf,
  NFT_DATA_VERDICT,
  SET_FLAG,
  TYPES,
  typeLength,
  typeList,
  typeNumber,
  typeOfNumber,
} from './constants.ts';
import { entryText, readUserdata, textEntry } from './data.ts';
import { readExprs } from './expr-decode.ts';
import { putExpr, putExprs } from './expr-encode.ts';
import type { Expr } from './expr-types.ts';
import type {
  ChainRef,
  ChainSpec,
  DataType,
  HookName,
  ListedChain,
  ListedRule,
  ListedSet,
  ListedTable,
  NftFamily,
  RuleRef,
  RuleSpec,
  SetRef,
  SetSpec,
  TableRef,
  TableSpec,
} from './types.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** `struct nfgenmsg`. */
export function nfgenmsg(w: NlWriter, family: number, resource = 0): void {
  w.put8(family, 0, resource >> 8, resource);
}

const family = (m: NlMessage): NftFamily => familyName(m.bytes[m.start] as number) ?? 'ip';
const attrs = (m: NlMessage): NlReader => new NlReader(m.bytes, m.start + 4, m.end);

// ---- tables

export function encodeTable(w: NlWriter, t: TableSpec): void {
  nfgenmsg(w, FAMILIES[t.family]);
  w.str(1, t.name);
  w.u32be(2, t.dormant === true ? 1 : 0);
  if (t.comment !== undefined) w.data(6, textEntry(0, t.comment));
}

export function encodeTableRef(w: NlWriter, t: TableRef): void {
  nfgenmsg(w, FAMILIES[t.family]);
  w.str(1, t.name);
}

export function decodeTable(m: NlMessage): ListedTable {
  const t: Mutable<ListedTable> = { family: family(m), name: '', handle: 0n, chains: 0 };
  const a = attrs(m);
  while (a.next()) {
    if (a.type === 1) t.name = a.str();
    else if (a.type === 2 && (a.u32be() & 1) === 1) t.dormant = true;
    else if (a.type === 3) t.chains = a.u32be();
    else if (a.type === 4) t.handle = a.u64be();
    else if (a.type === 6) {
      const comment = entryText(readUserdata(a.data()).get(0));
      if (comment !== undefined) t.comment = comment;
    }
  }
  return t;
}

// ---- chains

export function encodeChain(w: NlWriter, c: ChainSpec): void {
  nfgenmsg(w, FAMILIES[c.family]);
  w.str(1, c.table);
  w.str(3, c.name);
  if (c.hook !== undefined) {
    const number = hooksOf(c.family)[c.hook.hook];
    if (number === undefined) {
      throw new KernelError({
        errno: EINVAL,
        operation: 'add nft chain',
        object: `${c.family} ${c.table} ${c.name}`,
        extack: `family ${c.family} has no hook ${c.hook.hook}`,
      });
    }
    const hook = w.nest(4);
    w.u32be(1, number);
    w.u32be(2, c.hook.priority);
    if (c.hook.device !== undefined) w.str(3, c.hook.device);
    w.endNest(hook);
    if (c.policy !== undefined) w.u32be(5, c.policy === 'drop' ? 0 : 1);
    w.str(7, c.hook.type);
  }
  if (c.comment !== undefined) w.data(12, textEntry(0, c.comment));
}

export function encodeChainRef(w: NlWriter, c: ChainRef): void {
  nfgenmsg(w, FAMILIES[c.family]);
  w.str(1, c.table);
  w.str(3, c.name);
}

export function decodeChain(m: NlMessage): ListedChain {
  const c: Mutable<ListedChain> = { family: family(m), table: '', name: '', handle: 0n, use: 0 };
  let policy: number | undefined;
  let type = 'filter';
  let hook: { number: number; priority: number; device?: string } | undefined;
  const a = attrs(m);
  while (a.next()) {
    switch (a.type) {
      case 1:
        c.table = a.str();
        break;
      case 2:
        c.handle = a.u64be();
        break;
      case 3:
        c.name = a.str();
        break;
      case 4:
        hook = readHook(a.nested());
        break;
      case 5:
        policy = a.u32be();
        break;
      case 6:
        c.use = a.u32be();
        break;
      case 7:
        type = a.str();
        break;
      case 12: {
        const comment = entryText(readUserdata(a.data()).get(0));
        if (comment !== undefined) c.comment = comment;
        break;
      }
      default:
    }
  }
  if (hook !== undefined) {
    const { number, priority, device } = hook;
    const hooks = hooksOf(c.family);
    const name = (Object.keys(hooks) as HookName[]).find((h) => hooks[h] === number) ?? 'prerouting';
    c.hook = {
      hook: name,
      priority,
      type: type as 'filter' | 'nat' | 'route',
      ...(device === undefined ? {} : { device }),
    };
    c.policy = policy === 0 ? 'drop' : 'accept';
  }
  return c;
}

function readHook(a: NlReader): { number: number; priority: number; device?: string } {
  const hook: { number: number; priority: number; device?: string } = { number: 0, priority: 0 };
  while (a.next()) {
    if (a.type === 1) hook.number = a.u32be();
    else if (a.type === 2) hook.priority = a.u32be() | 0;
    else if (a.type === 3) hook.device = a.str();
    else if (a.type === 4) {
      const devices = a.nested();
      while (devices.next()) hook.device ??= devices.str();
    }
  }
  return hook;
}

// ---- rules

export function encodeRule(w: NlWriter, r: RuleSpec, handle?: bigint): void {
  nfgenmsg(w, FAMILIES[r.family]);
  w.str(1, r.table);
  w.str(2, r.chain);
  if (handle !== undefined) w.u64be(3, handle);
  putExprs(w, 4, r.exprs);
  if (r.position !== undefined) w.u64be(6, r.position);
  if (r.comment !== undefined) w.data(7, textEntry(0, r.comment));
}

/** One rule by handle, or all rules of a chain. */
export function encodeRuleRef(w: NlWriter, r: Omit<RuleRef, 'handle'> & { readonly handle?: bigint }): void {
  nfgenmsg(w, FAMILIES[r.family]);
  w.str(1, r.table);
  w.str(2, r.chain);
  if (r.handle !== undefined) w.u64be(3, r.handle);
}

export function decodeRule(m: NlMessage): ListedRule {
  const r: Mutable<ListedRule> = { family: family(m), table: '', chain: '', handle: 0n, exprs: [] };
  const a = attrs(m);
  while (a.next()) {
    switch (a.type) {
      case 1:
        r.table = a.str();
        break;
      case 2:
        r.chain = a.str();
        break;
      case 3:
        r.handle = a.u64be();
        break;
      case 4:
        r.exprs = readExprs(m.bytes, a.nested());
        break;
      case 7: {
        const comment = entryText(readUserdata(a.data()).get(0));
        if (comment !== undefined) r.comment = comment;
        break;
      }
      default:
    }
  }
  return r;
}

// ---- sets

const UDATA_KEY_ORDER = 0;
const UDATA_DATA_ORDER = 1;
const UDATA_COMMENT = 7;
const ORDERS = { host: 1, network: 2 } as const;

/** True for a concatenated key. */
export function isConcat(key: DataType | readonly DataType[]): boolean {
  return typeList(key).length > 1;
}

/** What `nft` needs to print the values: byte orders, and the comment. */
function setUserdata(s: SetSpec): Uint8Array {
  const parts: Uint8Array[] = [];
  const order = (entry: number, types: readonly DataType[]): void => {
    const [only] = types;
    // Fields of a concatenation are printed by their types' own order.
    if (types.length === 1 && only !== undefined)
      parts.push(Uint8Array.of(entry, 4, ORDERS[TYPES[only].order], 0, 0, 0));
  };
  order(UDATA_KEY_ORDER, typeList(s.key));
  if (s.data !== undefined && s.data !== 'verdict') order(UDATA_DATA_ORDER, typeList(s.data));
  if (s.comment !== undefined) parts.push(textEntry(UDATA_COMMENT, s.comment));
  return Buffer.concat(parts);
}

function setFlags(s: SetSpec): number {
  const f = s.flags ?? {};
  return (
    (f.constant === true ? SET_FLAG.CONSTANT : 0) |
    (f.interval === true ? SET_FLAG.INTERVAL : 0) |
    (f.interval === true && isConcat(s.key) ? SET_FLAG.CONCAT : 0) |
    (s.data === undefined ? 0 : SET_FLAG.MAP) |
    (f.timeout === true || s.timeout !== undefined ? SET_FLAG.TIMEOUT : 0) |
    (f.dynamic === true ? SET_FLAG.EVAL : 0) |
    (s.counter === true ? SET_FLAG.EXPR : 0)
  );
}

/** `id` tells sets of one batch apart. */
export function encodeSet(w: NlWriter, s: SetSpec, id: number): void {
  nfgenmsg(w, FAMILIES[s.family]);
  w.str(1, s.table);
  w.str(2, s.name);
  w.u32be(3, setFlags(s));
  w.u32be(4, typeNumber(s.key));
  w.u32be(5, typeLength(s.key));
  if (s.data !== undefined) {
    if (s.data === 'verdict') w.u32be(6, NFT_DATA_VERDICT);
    else {
      w.u32be(6, typeNumber(s.data));
      w.u32be(7, typeLength(s.data));
    }
  }
  const ranges = s.flags?.interval === true && isConcat(s.key);
  if (s.size !== undefined || ranges) {
    const desc = w.nest(9);
    if (s.size !== undefined) w.u32be(1, s.size);
    if (ranges) {
      const concat = w.nest(2);
      for (const type of typeList(s.key)) {
        const field = w.nest(1);
        w.u32be(1, TYPES[type].size);
        w.endNest(field);
      }
      w.endNest(concat);
    }
    w.endNest(desc);
  }
  w.u32be(10, id);
  if (s.timeout !== undefined) w.u64be(11, s.timeout);
  if (s.gcInterval !== undefined) w.u32be(12, s.gcInterval);
  const userdata = setUserdata(s);
  if (userdata.length > 0) w.data(13, userdata);
  if (s.counter === true) putExpr(w, 17, { type: 'counter' });
}

export function encodeSetRef(w: NlWriter, s: SetRef): void {
  nfgenmsg(w, FAMILIES[s.family]);
  w.str(1, s.table);
  w.str(2, s.name);
}

export function decodeSet(m: NlMessage): ListedSet & { readonly anonymous: boolean } {
  const s: Mutable<ListedSet> = { family: family(m), table: '', name: '', key: 'integer', handle: 0n, keyLength: 0 };
  let flags = 0;
  let exprs: Expr[] = [];
  const a = attrs(m);
  while (a.next()) {
    switch (a.type) {
      case 1:
        s.table = a.str();
        break;
      case 2:
        s.name = a.str();
        break;
      case 3:
        flags = a.u32be();
        break;
      case 4:
        s.key = typeOfNumber(a.u32be());
        break;
      case 5:
        s.keyLength = a.u32be();
        break;
      case 6:
        s.data = a.u32be() === NFT_DATA_VERDICT ? 'verdict' : typeOfNumber(a.u32be());
        break;
      case 9: {
        const desc = a.nested();
        while (desc.next()) if (desc.type === 1) s.size = desc.u32be();
        break;
      }
      case 11:
        s.timeout = Number(a.u64be());
        break;
      case 12:
        if (a.u32be() !== 0) s.gcInterval = a.u32be();
        break;
      case 13: {
        const comment = entryText(readUserdata(a.data()).get(UDATA_COMMENT));
        if (comment !== undefined) s.comment = comment;
        break;
      }
      case 16:
        s.handle = a.u64be();
        break;
      case 17:
      case 18: {
        exprs = a.type === 18 ? readExprs(m.bytes, a.nested()) : [...exprs];
        if (a.type === 17) s.counter = true;
        break;
      }
      default:
    }
  }
  if (exprs.some((e) => e.type === 'counter')) s.counter = true;
  const named = {
    ...((flags & SET_FLAG.INTERVAL) === 0 ? {} : { interval: true }),
    ...((flags & SET_FLAG.TIMEOUT) === 0 ? {} : { timeout: true }),
    ...((flags & SET_FLAG.EVAL) === 0 ? {} : { dynamic: true }),
    ...((flags & SET_FLAG.CONSTANT) === 0 ? {} : { constant: true }),
  };
  if (Object.keys(named).length > 0) s.flags = named;
  return { ...s, anonymous: (flags & SET_FLAG.ANONYMOUS) !== 0 };
}
