import { get16, get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { formatHandle, parseHandle } from './handle.ts';
import { bytesOfTicks, ticksOfBytes } from './psched.ts';
import type {
  Filter,
  FilterSpec,
  HtbClassOptions,
  Qdisc,
  QdiscSpec,
  TbfOptions,
  TcClass,
  TcClassSpec,
  U32Key,
} from './types.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TBF = { PARMS: 1, RATE64: 4 } as const;
const HTB = { PARMS: 1, INIT: 2, RATE64: 6, CEIL64: 7 } as const;
const U32 = { CLASSID: 1, SEL: 5, ACT: 7 } as const;
const U32_TERMINAL = 1;
const MATCHALL = { CLASSID: 1, ACT: 2 } as const;
const ACT_KIND = 1;
const ACT_OPTIONS = 2;
const MIRRED_PARMS = 2;
const TC_ACT_STOLEN = 4;
const TCA_EGRESS_REDIR = 1;
const HTB_VERSION = 3;
const HTB_RATE2QUANTUM = 10;
const PROTOCOLS = { all: 0x0003, ip: 0x0800, ipv6: 0x86dd } as const;
/** Smallest burst that always lets a segmentation-offload frame pass. */
const LARGE_FRAME = 65_536;

function header(w: NlWriter, index: number, handle: number, parent: number, info = 0): void {
  w.put32(0);
  w.put32(index);
  w.put32(handle);
  w.put32(parent);
  w.put32(info);
}

/** Bytes of numbers of 32 bits in host order. */
function words(...values: readonly number[]): Uint8Array {
  return new Uint8Array(Uint32Array.from(values, (v) => v >>> 0).buffer);
}

/** `struct tc_ratespec`; rates that need 64 bits say so by all ones here and come in an attribute of their own. */
function ratespec(rate: number): readonly number[] {
  return [0, 0, Math.min(rate, 0xffffffff)];
}

function rate64(w: NlWriter, type: number, rate: number): void {
  if (rate < 0xffffffff) return;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(Math.floor(rate)), true);
  w.data(type, bytes);
}

/** Body of RTM_NEWQDISC. */
export function encodeQdisc(w: NlWriter, q: QdiscSpec): void {
  const clsact = q.kind === 'ingress' || q.kind === 'clsact';
  const parent = parseHandle(q.parent ?? (clsact ? 'ingress' : 'root'));
  header(w, q.index, parseHandle(q.handle ?? (clsact ? 'ffff:' : 'none')), parent);
  w.str(TCA_KIND, q.kind);
  if (q.tbf === undefined && q.htb === undefined) return;
  const options = w.nest(TCA_OPTIONS);
  if (q.tbf !== undefined) tbfData(w, q.tbf);
  if (q.htb !== undefined) w.data(HTB.INIT, words(HTB_VERSION, HTB_RATE2QUANTUM, q.htb.defaultClass ?? 0, 0, 0));
  w.endNest(options);
}

function tbfData(w: NlWriter, { rate, burst, limit }: TbfOptions): void {
  const capped = Math.min(limit, 0xffffffff);
  w.data(TBF.PARMS, words(...ratespec(rate), ...ratespec(0), capped, ticksOfBytes(burst, rate), 0));
  rate64(w, TBF.RATE64, rate);
}

/** Body of RTM_DELQDISC. */
export function encodeQdiscRef(w: NlWriter, q: { readonly index: number; readonly parent?: string }): void {
  header(w, q.index, 0, parseHandle(q.parent ?? 'root'));
}

/** Body of RTM_NEWTCLASS. */
export function encodeClass(w: NlWriter, c: TcClassSpec): void {
  header(w, c.index, parseHandle(c.handle), parseHandle(c.parent));
  w.str(TCA_KIND, c.kind);
  const options = w.nest(TCA_OPTIONS);
  htbClassData(w, c.htb);
  w.endNest(options);
}

function htbClassData(w: NlWriter, { rate, ceil = rate, burst }: HtbClassOptions): void {
  const bucket = (speed: number): number => ticksOfBytes(burst ?? Math.max(speed / 1000, LARGE_FRAME), speed);
  w.data(HTB.PARMS, words(...ratespec(rate), ...ratespec(ceil), bucket(rate), bucket(ceil), 0, 0, 0));
  rate64(w, HTB.RATE64, rate);
  rate64(w, HTB.CEIL64, ceil);
}

/** Body of RTM_GETTCLASS, RTM_GETTFILTER or RTM_GETQDISC that lists what hangs from an interface. */
export function encodeTcDump(w: NlWriter, index: number, parent = 0): void {
  header(w, index, 0, parent);
}

/** Body of RTM_DELTCLASS. */
export function encodeClassRef(w: NlWriter, c: { readonly index: number; readonly handle: string }): void {
  header(w, c.index, parseHandle(c.handle), 0);
}

/** Body of RTM_NEWTFILTER, or of RTM_DELTFILTER for all of its priority and protocol. */
export function encodeFilter(w: NlWriter, f: FilterSpec, deleting = false): void {
  const protocol = PROTOCOLS[f.protocol ?? 'all'];
  const network = ((protocol & 0xff) << 8) | (protocol >> 8);
  header(w, f.index, 0, parseHandle(f.parent), (((f.priority ?? 1) << 16) | network) >>> 0);
  w.str(TCA_KIND, f.kind);
  if (deleting) return;
  const options = w.nest(TCA_OPTIONS);
  const u32 = f.kind === 'u32';
  if (f.classId !== undefined) w.u32(u32 ? U32.CLASSID : MATCHALL.CLASSID, parseHandle(f.classId));
  if (u32) w.data(U32.SEL, selector(f.keys ?? []));
  if (f.redirect !== undefined) redirect(w, u32 ? U32.ACT : MATCHALL.ACT, f.redirect);
  w.endNest(options);
}

function selector(keys: readonly U32Key[]): Uint8Array {
  // A selector without keys is refused, so "everything" is one key under an empty mask.
  const all = keys.length === 0 ? [{ value: 0, mask: 0, offset: 0 }] : keys;
  const bytes = new Uint8Array(16 + all.length * 16);
  const view = new DataView(bytes.buffer);
  bytes[0] = U32_TERMINAL;
  bytes[2] = all.length;
  all.forEach(({ value, mask, offset }, i) => {
    view.setUint32(16 + i * 16, mask);
    view.setUint32(20 + i * 16, value);
    view.setInt32(24 + i * 16, offset, true);
  });
  return bytes;
}

function redirect(w: NlWriter, type: number, index: number): void {
  const actions = w.nest(type);
  const first = w.nest(1);
  w.str(ACT_KIND, 'mirred');
  const options = w.nest(ACT_OPTIONS);
  w.data(MIRRED_PARMS, words(0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, index));
  w.endNest(options);
  w.endNest(first);
  w.endNest(actions);
}

interface Head {
  readonly index: number;
  readonly handle: string;
  readonly parent: string;
  readonly kind: string;
  readonly info: number;
  readonly options: () => NlReader | undefined;
}

function head(m: NlMessage): Head {
  const a = new NlReader(m.bytes, m.start + 20, m.end);
  let kind = '';
  let options: NlReader | undefined;
  while (a.next()) {
    if (a.type === TCA_KIND) kind = a.str();
    else if (a.type === TCA_OPTIONS) options = a.nested();
  }
  const at = (offset: number): number => get32(m.bytes, m.start + offset);
  return {
    index: at(4),
    handle: formatHandle(at(8)),
    parent: formatHandle(at(12)),
    info: at(16),
    kind,
    options: () => options,
  };
}

/** A 64-bit rate where there is one. */
function readRate64(a: NlReader): number {
  const d = a.data();
  return Number(new DataView(d.buffer, d.byteOffset).getBigUint64(0, true));
}

/** Reads RTM_NEWQDISC. */
export function decodeQdisc(m: NlMessage): Qdisc {
  const { index, handle, parent, kind, options } = head(m);
  const qdisc: Mutable<Qdisc> = { index, handle, parent, kind };
  const a = options();
  if (a === undefined || (kind !== 'tbf' && kind !== 'htb')) return qdisc;
  let rate = 0;
  let buffer = 0;
  let limit = 0;
  while (a.next()) {
    if (kind === 'htb') {
      if (a.type === HTB.INIT) qdisc.htb = { defaultClass: get32(a.data(), 8) };
    } else if (a.type === TBF.PARMS) {
      const d = a.data();
      rate = get32(d, 8);
      limit = get32(d, 24);
      buffer = get32(d, 28);
    } else if (a.type === TBF.RATE64) rate = readRate64(a);
  }
  if (kind === 'tbf') qdisc.tbf = { rate, limit, buffer, burst: bytesOfTicks(buffer, rate) };
  return qdisc;
}

/** Reads RTM_NEWTCLASS. */
export function decodeClass(m: NlMessage): TcClass {
  const { index, handle, parent, kind, options } = head(m);
  const a = options();
  if (a === undefined || kind !== 'htb') return { index, handle, parent, kind };
  let rate = 0;
  let ceil = 0;
  let buffer = 0;
  while (a.next()) {
    if (a.type === HTB.PARMS) {
      const d = a.data();
      rate = get32(d, 8);
      ceil = get32(d, 20);
      buffer = get32(d, 24);
    } else if (a.type === HTB.RATE64) rate = readRate64(a);
    else if (a.type === HTB.CEIL64) ceil = readRate64(a);
  }
  return { index, handle, parent, kind, htb: { rate, ceil, burst: bytesOfTicks(buffer, rate) } };
}

/** Reads RTM_NEWTFILTER; undefined for the hash tables that u32 lists besides its filters. */
export function decodeFilter(m: NlMessage): Filter | undefined {
  const { index, parent, kind, info, options } = head(m);
  const a = options();
  if (a === undefined) return undefined;
  const protocol = ((info & 0xff) << 8) | ((info >> 8) & 0xff);
  const filter: Mutable<Filter> = { index, parent, priority: info >>> 16, protocol, kind };
  const [classId, action] = kind === 'u32' ? [U32.CLASSID, U32.ACT] : [MATCHALL.CLASSID, MATCHALL.ACT];
  while (a.next()) {
    if (kind === 'u32' && a.type === U32.SEL) filter.keys = readKeys(a.data());
    else if (a.type === classId) filter.classId = formatHandle(a.u32());
    else if (a.type === action) {
      const to = readRedirect(a.nested());
      if (to !== undefined) filter.redirect = to;
    }
  }
  return kind === 'u32' && filter.keys === undefined ? undefined : filter;
}

function readKeys(d: Uint8Array): U32Key[] {
  const view = new DataView(d.buffer, d.byteOffset, d.byteLength);
  const keys: U32Key[] = [];
  for (let at = 16; at + 16 <= d.length && keys.length < (d[2] as number); at += 16) {
    keys.push({ mask: view.getUint32(at), value: view.getUint32(at + 4), offset: view.getInt32(at + 8, true) });
  }
  return keys;
}

function readRedirect(actions: NlReader): number | undefined {
  while (actions.next()) {
    const action = actions.nested();
    let mirred = false;
    while (action.next()) {
      if (action.type === ACT_KIND) mirred = action.str() === 'mirred';
      if (!mirred || action.type !== ACT_OPTIONS) continue;
      const options = action.nested();
      while (options.next()) {
        const d = options.data();
        if (options.type === MIRRED_PARMS && get16(d, 20) === TCA_EGRESS_REDIR) return get32(d, 24);
      }
    }
  }
  return undefined;
}
