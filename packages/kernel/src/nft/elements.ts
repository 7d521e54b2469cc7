import { formatIp } from '@weft/net';
import { type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { ELEM_INTERVAL_END, FAMILIES, TYPES, typeList } from './constants.ts';
import { entryText, putVerdict, readData, readUserdata, textEntry } from './data.ts';
import { readExpr, readExprs } from './expr-decode.ts';
import { isConcat, nfgenmsg } from './objects.ts';
import type { DataType, Element, ListedElement, SetRef, SetSpec, Verdict } from './types.ts';

/**
 * The set whose elements change: its `SetSpec`, or its name with what the wire form depends on: whether elements are
 * ranges, and whether the key has several fields.
 */
export type SetTarget = SetSpec | (SetRef & { readonly interval?: boolean; readonly concat?: boolean });

/** How elements of a set are written. */
export interface ElementForm {
  /** Ranges of a single field: a pair of elements, the second marked as the end and one past the range. */
  readonly pairs: boolean;
}

export function elementForm(set: SetTarget): ElementForm {
  if ('key' in set) return { pairs: set.flags?.interval === true && !isConcat(set.key) };
  const target = set as { readonly interval?: boolean; readonly concat?: boolean };
  return { pairs: target.interval === true && target.concat !== true };
}

const ELEM_LIST_ELEMENTS = 3;
const LIST_ELEM = 1;
const KEY = 1;
const DATA = 2;
const FLAGS = 3;
const TIMEOUT = 4;
const EXPIRATION = 5;
const USERDATA = 6;
const EXPR = 7;
const KEY_END = 10;
const EXPRESSIONS = 11;
const DATA_VALUE = 1;

/** Starts a message of elements; give the mark to `endNest` after the last. */
export function beginElements(w: NlWriter, set: SetRef): number {
  nfgenmsg(w, FAMILIES[set.family]);
  w.str(1, set.table);
  w.str(2, set.name);
  return w.nest(ELEM_LIST_ELEMENTS);
}

/** The key after `key`; undefined after the last one. */
function successor(key: Uint8Array): Uint8Array | undefined {
  const out = Uint8Array.from(key);
  for (let i = out.length - 1; i >= 0; i--) {
    const value = (out[i] as number) + 1;
    out[i] = value;
    if (value < 256) return out;
  }
  return undefined;
}

function predecessor(key: Uint8Array): Uint8Array {
  const out = Uint8Array.from(key);
  for (let i = out.length - 1; i >= 0; i--) {
    const value = (out[i] as number) - 1;
    out[i] = value;
    if (value >= 0) break;
  }
  return out;
}

/** Writes one element (two for a range of a single field). A deletion names only the key. */
export function putElement(w: NlWriter, e: Element, form: ElementForm, deleting: boolean): void {
  const elem = w.nest(LIST_ELEM);
  const key = w.nest(KEY);
  w.data(DATA_VALUE, e.key);
  w.endNest(key);
  if (e.keyEnd !== undefined && !form.pairs) {
    const end = w.nest(KEY_END);
    w.data(DATA_VALUE, e.keyEnd);
    w.endNest(end);
  }
  if (!deleting) {
    if (e.data !== undefined) {
      if (e.data instanceof Uint8Array) {
        const data = w.nest(DATA);
        w.data(DATA_VALUE, e.data);
        w.endNest(data);
      } else putVerdict(w, DATA, e.data);
    }
    if (e.timeout !== undefined) w.u64be(TIMEOUT, e.timeout);
    if (e.comment !== undefined) w.data(USERDATA, textEntry(0, e.comment));
  }
  w.endNest(elem);
  if (!form.pairs) return;
  const after = successor(e.keyEnd ?? e.key);
  if (after === undefined) return;
  const end = w.nest(LIST_ELEM);
  const endKey = w.nest(KEY);
  w.data(DATA_VALUE, after);
  w.endNest(endKey);
  w.u32be(FLAGS, ELEM_INTERVAL_END);
  w.endNest(end);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** An element as listed, with the mark of a range's end. */
export interface RawElement {
  readonly element: ListedElement;
  readonly end: boolean;
}

/** Reads the elements of one message. */
export function decodeElements(m: NlMessage, out: RawElement[]): void {
  const a = new NlReader(m.bytes, m.start + 4, m.end);
  while (a.next()) {
    if (a.type !== ELEM_LIST_ELEMENTS) continue;
    const list = a.nested();
    while (list.next()) out.push(decodeElement(m.bytes, list.nested()));
  }
}

function bytesOf(data: Uint8Array | Verdict | undefined): Uint8Array {
  return data instanceof Uint8Array ? data : new Uint8Array(0);
}

function decodeElement(bytes: Uint8Array, a: NlReader): RawElement {
  const e: Mutable<ListedElement> = { key: new Uint8Array(0) };
  let end = false;
  while (a.next()) {
    switch (a.type) {
      case KEY:
        e.key = bytesOf(readData(a));
        break;
      case KEY_END:
        e.keyEnd = bytesOf(readData(a));
        break;
      case DATA: {
        const data = readData(a);
        if (data !== undefined) e.data = data;
        break;
      }
      case FLAGS:
        end = (a.u32be() & ELEM_INTERVAL_END) !== 0;
        break;
      case TIMEOUT:
        e.timeout = Number(a.u64be());
        break;
      case EXPIRATION:
        e.expires = Number(a.u64be());
        break;
      case USERDATA: {
        const comment = entryText(readUserdata(a.data()).get(0));
        if (comment !== undefined) e.comment = comment;
        break;
      }
      case EXPR:
      case EXPRESSIONS: {
        const exprs = a.type === EXPR ? [readExpr(bytes, a.nested())] : readExprs(bytes, a.nested());
        for (const x of exprs) if (x.type === 'counter') e.counter = { packets: x.packets ?? 0n, bytes: x.bytes ?? 0n };
        break;
      }
      default:
    }
  }
  return { element: e, end };
}

/** Joins the pairs of a single-field interval set into ranges with an inclusive `keyEnd`. */
export function joinRanges(raw: readonly RawElement[]): ListedElement[] {
  const sorted = [...raw].sort((a, b) => {
    const order = Buffer.compare(a.element.key, b.element.key);
    // Where one range ends and the next begins at the same key, the end comes first.
    return order !== 0 ? order : Number(b.end) - Number(a.end);
  });
  const out: ListedElement[] = [];
  for (let i = 0; i < sorted.length; i++) {
    const item = sorted[i] as RawElement;
    if (item.end) continue;
    const next = sorted[i + 1];
    const keyEnd =
      next === undefined ? new Uint8Array(item.element.key.length).fill(255) : predecessor(next.element.key);
    out.push({ ...item.element, keyEnd });
  }
  return out;
}

/** A key as people write it: by the set's types when they are known, else in hexadecimal. */
export function formatKey(key: Uint8Array, types: DataType | readonly DataType[] | undefined): string {
  const hex = (bytes: Uint8Array): string => `0x${Buffer.from(bytes).toString('hex')}`;
  if (types === undefined) return hex(key);
  const list = typeList(types);
  let at = 0;
  return list
    .map((type) => {
      const { size, order } = TYPES[type];
      const bytes = key.subarray(at, at + size);
      at += (size + 3) & ~3;
      if (type === 'ipv4_addr' || type === 'ipv6_addr') return bytes.length === size ? formatIp(bytes) : hex(bytes);
      if (type === 'ifname') return Buffer.from(bytes).toString('utf8').replace(/\0+$/, '');
      if (size > 4) return hex(bytes);
      const ordered = order === 'host' ? Uint8Array.from(bytes).reverse() : bytes;
      const value = ordered.reduce((sum, byte) => sum * 256 + byte, 0);
      return type === 'mark' || type === 'classid' ? `0x${value.toString(16)}` : String(value);
    })
    .join(' . ');
}
