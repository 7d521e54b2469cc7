import type { NlReader, NlWriter } from '../netlink/wire.ts';
import { ipBytesOf } from './bytes.ts';
import type { IpvlanMode, Link, LinkSpec, MacvlanMode, TunInfo } from './types.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const MACVLAN_MODES: Record<MacvlanMode, number> = { private: 1, vepa: 2, bridge: 4, passthru: 8, source: 16 };
const IFLA_MACVLAN_MODE = 1;
const IFLA_MACVLAN_BC_QUEUE_LEN = 7;
const IPVLAN_MODES: Record<IpvlanMode, number> = { l2: 0, l3: 1, l3s: 2 };
const TUN = { OWNER: 1, GROUP: 2, TYPE: 3, VNET_HDR: 5, PERSIST: 6, MULTI_QUEUE: 7 } as const;
const IFF_TAP = 2;
/** Attribute of each kind that makes it external (linux/if_tunnel.h, linux/if_link.h). */
const COLLECT_METADATA = { ipip: 19, ip6tnl: 19, gre: 18, ip6gre: 18, geneve: 6 } as const;
const IFLA_IPTUN_PROTO = 9;
const IFLA_GENEVE_PORT = 5;
/** Takes IPv4 and IPv6 packets alike (the kernel's own default is IPv6 only). */
const ANY_PROTOCOL = 0;

/** IFLA_INFO_DATA of the kinds that have but a few settings. */
export function smallKindData(w: NlWriter, spec: LinkSpec): void {
  const { macvlan, vlan, ipvlan, vrf, ipip, external } = spec;
  if (macvlan?.mode !== undefined) w.u32(IFLA_MACVLAN_MODE, MACVLAN_MODES[macvlan.mode]);
  if (macvlan?.bcQueueLen !== undefined) w.u32(IFLA_MACVLAN_BC_QUEUE_LEN, macvlan.bcQueueLen);
  if (vlan !== undefined) w.u16(1, vlan.id);
  if (ipvlan?.mode !== undefined) w.u16(1, IPVLAN_MODES[ipvlan.mode]);
  if (vrf !== undefined) w.u32(1, vrf.table);
  if (ipip !== undefined) {
    if (ipip.dev !== undefined) w.u32(1, ipip.dev);
    if (ipip.local !== undefined) w.data(2, ipBytesOf(ipip.local, 'tunnel local address'));
    if (ipip.remote !== undefined) w.data(3, ipBytesOf(ipip.remote, 'tunnel remote address'));
    if (ipip.ttl !== undefined) w.u8(4, ipip.ttl);
  }
  if (external !== undefined) {
    w.flag(COLLECT_METADATA[external.kind]);
    if (external.kind === 'ip6tnl') w.u8(IFLA_IPTUN_PROTO, ANY_PROTOCOL);
    if (external.port !== undefined) w.u16be(IFLA_GENEVE_PORT, external.port);
  }
}

function nameOf<T extends string>(table: Record<T, number>, value: number): T | undefined {
  return (Object.keys(table) as T[]).find((name) => table[name] === value);
}

function readMacvlan(a: NlReader): Link['macvlan'] {
  let mode: MacvlanMode | undefined;
  let bcQueueLen: number | undefined;
  while (a.next()) {
    if (a.type === IFLA_MACVLAN_MODE) mode = nameOf(MACVLAN_MODES, a.u32());
    else if (a.type === IFLA_MACVLAN_BC_QUEUE_LEN) bcQueueLen = a.u32();
  }
  return mode === undefined ? undefined : { mode, ...(bcQueueLen === undefined ? {} : { bcQueueLen }) };
}

function readTun(a: NlReader): TunInfo {
  const tun: Mutable<TunInfo> = { mode: 'tun' };
  while (a.next()) {
    if (a.type === TUN.OWNER) tun.owner = a.u32();
    else if (a.type === TUN.GROUP) tun.group = a.u32();
    else if (a.type === TUN.TYPE) tun.mode = a.u8() === IFF_TAP ? 'tap' : 'tun';
    else if (a.type === TUN.VNET_HDR) tun.vnetHdr = a.u8() !== 0;
    else if (a.type === TUN.PERSIST) tun.persist = a.u8() !== 0;
    else if (a.type === TUN.MULTI_QUEUE) tun.multiQueue = a.u8() !== 0;
  }
  return tun;
}

/** Reads IFLA_INFO_DATA of the kinds that have but a few settings into the link. */
export function readSmallKind(link: Mutable<Link>, kind: string, a: NlReader): void {
  switch (kind) {
    case 'macvlan':
    case 'macvtap': {
      const macvlan = readMacvlan(a);
      if (macvlan !== undefined) link.macvlan = macvlan;
      return;
    }
    case 'ipvlan':
    case 'ipvtap':
      while (a.next()) {
        const mode = a.type === 1 ? nameOf(IPVLAN_MODES, a.u16()) : undefined;
        if (mode !== undefined) link.ipvlan = { mode };
      }
      return;
    case 'vlan':
      while (a.next()) if (a.type === 1) link.vlan = { id: a.u16() };
      return;
    case 'vrf':
      while (a.next()) if (a.type === 1) link.vrf = { table: a.u32() };
      return;
    case 'ipip':
    case 'ip6tnl':
    case 'gre':
    case 'ip6gre':
    case 'geneve': {
      let isExternal = false;
      let port: number | undefined;
      while (a.next()) {
        if (a.type === COLLECT_METADATA[kind]) isExternal = true;
        else if (kind === 'geneve' && a.type === IFLA_GENEVE_PORT) port = a.u16be();
      }
      if (isExternal) link.external = { kind, ...(port === undefined ? {} : { port }) };
      return;
    }
    case 'tun':
      link.tun = readTun(a);
      return;
    default:
  }
}
