import { formatIp } from '@weft/net';
import { EINVAL } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { get16, get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { SCOPES, scopeName } from './address.ts';
import { addressOf, af, AF_INET, AF_INET6, afOf, familyOf, ipBytesOf } from './bytes.ts';
import type { Encap, NextHop, Route, RouteType, Scope } from './types.ts';

export const RTM_NEWROUTE = 24;
export const RTM_DELROUTE = 25;
export const RTM_GETROUTE = 26;

const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  VIA: 18,
  ENCAP_TYPE: 21,
  ENCAP: 22,
} as const;
/** linux/lwtunnel.h; the attributes are the same for both families. */
const ENCAP_IP = 2;
const ENCAP_IP6 = 4;
const LWT = { ID: 1, DST: 2, SRC: 3, FLAGS: 6 } as const;
const TUNNEL_CSUM = 0x0001;
const TUNNEL_KEY = 0x0004;
const RTAX_MTU = 2;
const RTAX_ADVMSS = 8;
const RTNH_F_ONLINK = 4;
const RTM_F_CLONED = 0x200;
const RT_TABLE_MAIN = 254;
const RT_TABLE_COMPAT = 252;
const RTPROT_BOOT = 3;

export const ROUTE_TYPES: Record<RouteType, number> = {
  unicast: 1,
  local: 2,
  broadcast: 3,
  anycast: 4,
  multicast: 5,
  blackhole: 6,
  unreachable: 7,
  prohibit: 8,
  throw: 9,
  nat: 10,
};

function routeType(value: number): RouteType {
  return (Object.keys(ROUTE_TYPES) as RouteType[]).find((name) => ROUTE_TYPES[name] === value) ?? 'unicast';
}

function familyOfRoute(r: Route): number {
  if (r.dst !== 'default') return afOf(addressOf(r.dst, 'route destination').ip.bytes);
  if (r.family !== undefined) return af(r.family);
  const hint = r.via ?? r.src ?? r.nexthops?.find((hop) => hop.via !== undefined)?.via;
  if (hint === undefined) {
    throw new KernelError({
      errno: EINVAL,
      operation: 'use route',
      object: 'default',
      extack: 'its family is unknown',
      hint: 'give family 4 or 6, or a next hop',
    });
  }
  return afOf(ipBytesOf(hint, 'route gateway'));
}

/** As `ip route`: what is directly reachable has link scope, local things host scope, all else global. */
function defaultScope(r: Route, type: RouteType): Scope {
  if (type === 'local' || type === 'nat') return 'host';
  if (type === 'broadcast' || type === 'multicast' || type === 'anycast') return 'link';
  if (type === 'unicast' && r.via === undefined && r.nexthops === undefined) return 'link';
  return 'global';
}

function gateway(w: NlWriter, via: string, family: number): void {
  const bytes = ipBytesOf(via, 'route gateway');
  if (afOf(bytes) === family) w.data(RTA.GATEWAY, bytes);
  else {
    const value = new Uint8Array(2 + bytes.length);
    value[0] = afOf(bytes);
    value.set(bytes, 2);
    w.data(RTA.VIA, value);
  }
}

/** Body of RTM_NEWROUTE / RTM_DELROUTE. A deletion matches only what the route states. */
export function encodeRoute(w: NlWriter, r: Route, deleting = false): void {
  const family = familyOfRoute(r);
  const dst = r.dst === 'default' ? undefined : addressOf(r.dst, 'route destination');
  const table = r.table ?? RT_TABLE_MAIN;
  const type = r.type ?? (deleting ? undefined : 'unicast');
  const scope =
    r.scope !== undefined
      ? SCOPES[r.scope]
      : family === AF_INET6
        ? 0
        : deleting
          ? SCOPES.nowhere
          : SCOPES[defaultScope(r, type ?? 'unicast')];
  w.put8(family, dst?.length ?? 0, 0, 0);
  w.put8(
    table < 256 ? table : RT_TABLE_COMPAT,
    r.protocol ?? (deleting ? 0 : RTPROT_BOOT),
    scope,
    type === undefined ? 0 : ROUTE_TYPES[type],
  );
  w.put32(r.onlink === true ? RTNH_F_ONLINK : 0);
  if (dst !== undefined) w.data(RTA.DST, dst.ip.bytes);
  w.u32(RTA.TABLE, table);
  if (r.via !== undefined) gateway(w, r.via, family);
  if (r.oif !== undefined) w.u32(RTA.OIF, r.oif);
  if (r.src !== undefined) w.data(RTA.PREFSRC, ipBytesOf(r.src, 'route source'));
  if (r.metric !== undefined) w.u32(RTA.PRIORITY, r.metric);
  if (r.mtu !== undefined || r.advmss !== undefined) {
    const metrics = w.nest(RTA.METRICS);
    if (r.mtu !== undefined) w.u32(RTAX_MTU, r.mtu);
    if (r.advmss !== undefined) w.u32(RTAX_ADVMSS, r.advmss);
    w.endNest(metrics);
  }
  if (r.nexthops !== undefined) {
    const multipath = w.nest(RTA.MULTIPATH);
    for (const hop of r.nexthops) nextHop(w, hop, family);
    w.endNest(multipath);
  }
  if (r.encap !== undefined) encap(w, r.encap);
}

function encap(w: NlWriter, e: Encap): void {
  const dst = ipBytesOf(e.dst, 'tunnel destination');
  const nest = w.nest(RTA.ENCAP);
  if (e.id !== undefined) {
    const id = new Uint8Array(8);
    new DataView(id.buffer).setUint32(4, e.id, false);
    w.data(LWT.ID, id);
  }
  w.data(LWT.DST, dst);
  if (e.src !== undefined) w.data(LWT.SRC, ipBytesOf(e.src, 'tunnel source'));
  const flags = (e.csum === true ? TUNNEL_CSUM : 0) | (e.id === undefined ? 0 : TUNNEL_KEY);
  if (flags !== 0) w.u16be(LWT.FLAGS, flags);
  w.endNest(nest);
  w.u16(RTA.ENCAP_TYPE, dst.length === 4 ? ENCAP_IP : ENCAP_IP6);
}

/** Reads what `encap` writes. */
function readEncap(a: NlReader): Encap {
  const e: Mutable<Encap> = { dst: '' };
  let id = 0;
  let flags = 0;
  while (a.next()) {
    if (a.type === LWT.ID) {
      const bytes = a.data();
      id = new DataView(bytes.buffer, bytes.byteOffset).getUint32(4, false);
    } else if (a.type === LWT.DST) e.dst = formatIp(a.data());
    else if (a.type === LWT.SRC) e.src = formatIp(a.data());
    else if (a.type === LWT.FLAGS) flags = a.u16be();
  }
  if ((flags & TUNNEL_KEY) !== 0) e.id = id;
  if ((flags & TUNNEL_CSUM) !== 0) e.csum = true;
  return e;
}

function nextHop(w: NlWriter, hop: NextHop, family: number): void {
  const at = w.pos;
  w.put8(0, 0, hop.onlink === true ? RTNH_F_ONLINK : 0, (hop.weight ?? 1) - 1);
  w.put32(hop.oif ?? 0);
  if (hop.via !== undefined) gateway(w, hop.via, family);
  w.bytes[at] = w.pos - at;
  w.bytes[at + 1] = (w.pos - at) >> 8;
}

/** What a route listing is limited to; the kernel does the filtering. */
export interface RouteFilter {
  readonly table?: number;
  readonly family?: 4 | 6;
  readonly protocol?: number;
  readonly oif?: number;
}

/** Body of RTM_GETROUTE that lists routes of one family. */
export function encodeRouteDump(w: NlWriter, filter: RouteFilter): void {
  w.put8(af(filter.family));
  w.put8(0, filter.protocol ?? 0, 0, 0);
  w.put32(0);
  if (filter.table !== undefined) w.u32(RTA.TABLE, filter.table);
  if (filter.oif !== undefined) w.u32(RTA.OIF, filter.oif);
}

const RTA_SRC = 2;
const RTA_IIF = 3;
const RTA_MARK = 16;

/** A question to the routing table. */
export interface RouteQuery {
  readonly to: string;
  readonly from?: string;
  readonly iif?: number;
  readonly oif?: number;
  readonly mark?: number;
}

/** Body of RTM_GETROUTE for one destination. */
export function encodeRouteQuery(w: NlWriter, q: RouteQuery): void {
  const to = ipBytesOf(q.to, 'route destination');
  const from = q.from === undefined ? undefined : ipBytesOf(q.from, 'route source');
  w.put8(afOf(to), to.length * 8, from === undefined ? 0 : from.length * 8, 0);
  w.put32(0);
  w.put32(0);
  w.data(RTA.DST, to);
  if (from !== undefined) w.data(RTA_SRC, from);
  if (q.iif !== undefined) w.u32(RTA_IIF, q.iif);
  if (q.oif !== undefined) w.u32(RTA.OIF, q.oif);
  if (q.mark !== undefined) w.u32(RTA_MARK, q.mark);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

export function decodeRoute(m: NlMessage): Route {
  const b = m.bytes;
  const s = m.start;
  const family = b[s] as number;
  const length = b[s + 1] as number;
  const flags = get32(b, s + 8);
  const route: Mutable<Route> = {
    dst: 'default',
    family: familyOf(family),
    table: b[s + 4] as number,
    protocol: b[s + 5] as number,
    scope: scopeName(b[s + 6] as number),
    type: routeType(b[s + 7] as number),
  };
  if ((flags & RTNH_F_ONLINK) !== 0) route.onlink = true;
  let encapAt: NlReader | undefined;
  let encapType = 0;
  const a = new NlReader(b, s + 12, m.end);
  while (a.next()) {
    switch (a.type) {
      case RTA.DST:
        route.dst = `${formatIp(a.data())}/${length}`;
        break;
      case RTA.TABLE:
        route.table = a.u32();
        break;
      case RTA.GATEWAY:
        route.via = formatIp(a.data());
        break;
      case RTA.VIA:
        route.via = formatIp(a.data().subarray(2));
        break;
      case RTA.OIF:
        route.oif = a.u32();
        break;
      case RTA.PREFSRC:
        route.src = formatIp(a.data());
        break;
      case RTA.PRIORITY:
        route.metric = a.u32();
        break;
      case RTA.METRICS: {
        const x = a.nested();
        while (x.next()) {
          if (x.type === RTAX_MTU) route.mtu = x.u32();
          else if (x.type === RTAX_ADVMSS) route.advmss = x.u32();
        }
        break;
      }
      case RTA.ENCAP:
        encapAt = a.nested();
        break;
      case RTA.ENCAP_TYPE:
        encapType = a.u16();
        break;
      case RTA.MULTIPATH:
        route.nexthops = readNextHops(b, a.at, a.end);
        break;
      default:
    }
  }
  if (encapAt !== undefined && (encapType === ENCAP_IP || encapType === ENCAP_IP6)) route.encap = readEncap(encapAt);
  return route;
}

function readNextHops(b: Uint8Array, from: number, end: number): NextHop[] {
  const hops: NextHop[] = [];
  let at = from;
  while (at + 8 <= end) {
    const length = get16(b, at);
    if (length < 8 || at + length > end) break;
    const hop: Mutable<NextHop> = { oif: get32(b, at + 4), weight: (b[at + 3] as number) + 1 };
    if (((b[at + 2] as number) & RTNH_F_ONLINK) !== 0) hop.onlink = true;
    const a = new NlReader(b, at + 8, at + length);
    while (a.next()) {
      if (a.type === RTA.GATEWAY) hop.via = formatIp(a.data());
      else if (a.type === RTA.VIA) hop.via = formatIp(a.data().subarray(2));
    }
    hops.push(hop);
    at += (length + 3) & ~3;
  }
  return hops;
}

/** Exceptions the kernel cached are not configuration. */
export function isCloned(m: NlMessage): boolean {
  return (get32(m.bytes, m.start + 8) & RTM_F_CLONED) !== 0;
}

/** True for IPv4 and IPv6 routes (the kernel also lists multicast and MPLS ones). */
export function isIpRoute(m: NlMessage): boolean {
  const family = m.bytes[m.start];
  return family === AF_INET || family === AF_INET6;
}
