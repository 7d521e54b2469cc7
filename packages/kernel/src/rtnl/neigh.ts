import { formatIp } from '@weft/net';
import { get16, get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { af, AF_BRIDGE, afOf, ipBytesOf, macBytes, macText } from './bytes.ts';
import type { FdbEntry, Neighbour, NeighbourState } from './types.ts';

export const RTM_NEWNEIGH = 28;
export const RTM_DELNEIGH = 29;
export const RTM_GETNEIGH = 30;

const NDA = { DST: 1, LLADDR: 2, VLAN: 5, PORT: 6, VNI: 7, IFINDEX: 8, MASTER: 9, PROTOCOL: 12 } as const;
const NTF_SELF = 0x02;
const NTF_MASTER = 0x04;
const NTF_PROXY = 0x08;
const NTF_EXT_LEARNED = 0x10;
const NTF_ROUTER = 0x80;
const NUD_REACHABLE = 0x02;
const NUD_NOARP = 0x40;
const NUD_PERMANENT = 0x80;

const STATES: Record<NeighbourState, number> = {
  none: 0,
  incomplete: 0x01,
  reachable: NUD_REACHABLE,
  stale: 0x04,
  delay: 0x08,
  probe: 0x10,
  failed: 0x20,
  noarp: NUD_NOARP,
  permanent: NUD_PERMANENT,
};

function ndmsg(w: NlWriter, family: number, index: number, state: number, flags: number): void {
  w.put8(family);
  w.put32(index);
  w.put8(state, state >> 8, flags, 0);
}

/** Body of RTM_NEWNEIGH / RTM_DELNEIGH. */
export function encodeNeighbour(w: NlWriter, n: Neighbour): void {
  const ip = ipBytesOf(n.address, 'neighbour address');
  const flags =
    (n.proxy === true ? NTF_PROXY : 0) |
    (n.router === true ? NTF_ROUTER : 0) |
    (n.externLearn === true ? NTF_EXT_LEARNED : 0);
  ndmsg(w, afOf(ip), n.index, STATES[n.state ?? 'permanent'], flags);
  w.data(NDA.DST, ip);
  if (n.mac !== undefined) w.data(NDA.LLADDR, macBytes(n.mac));
  if (n.protocol !== undefined) w.u8(NDA.PROTOCOL, n.protocol);
}

/** Body of RTM_GETNEIGH that lists neighbours. */
export function encodeNeighbourDump(
  w: NlWriter,
  filter: { readonly index?: number; readonly family?: 4 | 6; readonly proxy?: boolean },
): void {
  ndmsg(w, af(filter.family), 0, 0, filter.proxy === true ? NTF_PROXY : 0);
  if (filter.index !== undefined) w.u32(NDA.IFINDEX, filter.index);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function decodeNeighbour(m: NlMessage): Neighbour {
  const b = m.bytes;
  const s = m.start;
  const state = get16(b, s + 8);
  const flags = b[s + 10] as number;
  const n: Mutable<Neighbour> = {
    index: get32(b, s + 4),
    address: '',
    state: (Object.keys(STATES) as NeighbourState[]).find((name) => STATES[name] === state) ?? 'none',
  };
  if ((flags & NTF_PROXY) !== 0) n.proxy = true;
  if ((flags & NTF_ROUTER) !== 0) n.router = true;
  if ((flags & NTF_EXT_LEARNED) !== 0) n.externLearn = true;
  const a = new NlReader(b, s + 12, m.end);
  while (a.next()) {
    if (a.type === NDA.DST) n.address = formatIp(a.data());
    else if (a.type === NDA.LLADDR && a.length === 6) n.mac = macText(a.data());
    else if (a.type === NDA.PROTOCOL) n.protocol = a.u8();
  }
  return n;
}

/** Body of RTM_NEWNEIGH / RTM_DELNEIGH for a forwarding entry. */
export function encodeFdb(w: NlWriter, e: FdbEntry): void {
  const self = e.self ?? e.master !== true;
  const flags = (self ? NTF_SELF : 0) | (e.master === true ? NTF_MASTER : 0);
  // As `bridge fdb`: `permanent` is a local address of a bridge, `static` never ages, `dynamic` does.
  const state =
    e.state === 'dynamic'
      ? NUD_REACHABLE
      : e.state === 'static'
        ? NUD_NOARP | NUD_REACHABLE
        : NUD_NOARP | NUD_PERMANENT;
  ndmsg(w, AF_BRIDGE, e.index, state, flags);
  w.data(NDA.LLADDR, macBytes(e.mac));
  if (e.dst !== undefined) w.data(NDA.DST, ipBytesOf(e.dst, 'fdb destination'));
  if (e.vlan !== undefined) w.u16(NDA.VLAN, e.vlan);
  if (e.port !== undefined) w.u16be(NDA.PORT, e.port);
  if (e.vni !== undefined) w.u32(NDA.VNI, e.vni);
  if (e.via !== undefined) w.u32(NDA.IFINDEX, e.via);
}

/** Body of RTM_GETNEIGH that lists the forwarding entries of one device. */
export function encodeFdbDump(w: NlWriter, index: number): void {
  ndmsg(w, AF_BRIDGE, index, 0, 0);
}

export function decodeFdb(m: NlMessage): FdbEntry {
  const b = m.bytes;
  const s = m.start;
  const state = get16(b, s + 8);
  const flags = b[s + 10] as number;
  const e: Mutable<FdbEntry> = {
    index: get32(b, s + 4),
    mac: '',
    state: (state & NUD_PERMANENT) !== 0 ? 'permanent' : (state & NUD_NOARP) !== 0 ? 'static' : 'dynamic',
  };
  if ((flags & NTF_SELF) !== 0) e.self = true;
  if ((flags & NTF_MASTER) !== 0) e.master = true;
  const a = new NlReader(b, s + 12, m.end);
  while (a.next()) {
    switch (a.type) {
      case NDA.LLADDR:
        e.mac = macText(a.data());
        break;
      case NDA.DST:
        e.dst = formatIp(a.data());
        break;
      case NDA.VLAN:
        e.vlan = a.u16();
        break;
      case NDA.PORT:
        e.port = a.u16be();
        break;
      case NDA.VNI:
        e.vni = a.u32();
        break;
      case NDA.IFINDEX:
        e.via = a.u32();
        break;
      case NDA.MASTER:
        // The bridge lists its entries with itself as master; the flag tells which table.
        e.master = true;
        break;
      default:
    }
  }
  return e;
}

/** True for a message about a forwarding entry (as opposed to an ARP or NDP neighbour). */
export function isFdb(m: NlMessage): boolean {
  return m.bytes[m.start] === AF_BRIDGE;
}
