import { formatIp } from '@weft/net';
import { EINVAL } from '../errno.ts';
import { KernelError } from '../errors.ts';
import { get16, get32, type NlMessage, NlReader, type NlWriter } from '../netlink/wire.ts';
import { macBytes, macText } from './bytes.ts';
import { bridgeData, bridgePort, portData, readBridge, readPort, readVxlan, vxlanData } from './link-data.ts';
import { readSmallKind, smallKindData } from './link-kinds.ts';
import type { Link, LinkChange, LinkSpec, VethPeer } from './types.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

const IFF_UP = 1;
const IFF_LOOPBACK = 8;
const IFF_NOARP = 0x80;
const IFF_PROMISC = 0x100;
const IFF_ALLMULTI = 0x200;
const IFF_LOWER_UP = 0x10000;

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  TXQLEN: 13,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
  PROP_LIST: 52,
  ALT_IFNAME: 53,
} as const;
const INFO_KIND = 1;
const INFO_DATA = 2;
const INFO_SLAVE_KIND = 4;
const INFO_SLAVE_DATA = 5;
const VETH_INFO_PEER = 1;
const RTEXT_FILTER_SKIP_STATS = 8;
const AF_INET6 = 10;
const IFLA_INET6_ADDR_GEN_MODE = 8;

function ifinfo(w: NlWriter, index: number, flags = 0, change = 0): void {
  w.put16(0, 0);
  w.put32(index);
  w.put32(flags);
  w.put32(change);
}

/** Names are at most 15 bytes and hold no blank, slash or colon (dev_valid_name). */
function checkName(name: string, object: string): void {
  if (name === '' || name === '.' || name === '..' || Buffer.byteLength(name) > 15 || /[\s/:]/.test(name)) {
    throw new KernelError({
      errno: EINVAL,
      operation: 'use link name',
      object: JSON.stringify(name),
      extack: `not a valid interface name (of ${object})`,
      hint: 'at most 15 bytes, without blanks, "/" and ":"',
    });
  }
}

/** Body of RTM_NEWLINK for a new link. */
export function encodeLink(w: NlWriter, spec: LinkSpec): void {
  checkName(spec.name, spec.name);
  const flags = spec.up === true ? IFF_UP : 0;
  ifinfo(w, spec.index ?? 0, flags, flags);
  w.str(IFLA.IFNAME, spec.name);
  common(w, spec);
  if (spec.master !== undefined) w.u32(IFLA.MASTER, spec.master);
  if (spec.numTxQueues !== undefined) w.u32(IFLA.NUM_TX_QUEUES, spec.numTxQueues);
  if (spec.numRxQueues !== undefined) w.u32(IFLA.NUM_RX_QUEUES, spec.numRxQueues);
  const parent = spec.macvlan?.parent ?? spec.vlan?.parent ?? spec.ipvlan?.parent;
  if (parent !== undefined) w.u32(IFLA.LINK, parent);
  const info = w.nest(IFLA.LINKINFO);
  w.str(INFO_KIND, spec.kind);
  const data = w.nest(INFO_DATA);
  kindData(w, spec);
  w.endNest(data);
  w.endNest(info);
}

function common(w: NlWriter, spec: LinkSpec | VethPeer | LinkChange): void {
  if (spec.mac !== undefined) w.data(IFLA.ADDRESS, macBytes(spec.mac));
  if (spec.mtu !== undefined) w.u32(IFLA.MTU, spec.mtu);
  if (spec.txqlen !== undefined) w.u32(IFLA.TXQLEN, spec.txqlen);
  if (spec.alias !== undefined) w.str(IFLA.IFALIAS, spec.alias);
  if ('group' in spec && spec.group !== undefined) w.u32(IFLA.GROUP, spec.group);
  if (spec.ns !== undefined) w.u32(IFLA.NET_NS_FD, spec.ns.fd);
}

function kindData(w: NlWriter, spec: LinkSpec): void {
  if (spec.peer !== undefined) {
    checkName(spec.peer.name, spec.name);
    const peer = w.nest(VETH_INFO_PEER);
    // No IFF_UP here: the kernel opens the peer before the pair is joined, and refuses (ENOTCONN).
    ifinfo(w, 0);
    w.str(IFLA.IFNAME, spec.peer.name);
    common(w, spec.peer);
    w.endNest(peer);
  }
  if (spec.vxlan !== undefined) vxlanData(w, spec.vxlan);
  if (spec.bridge !== undefined) bridgeData(w, spec.bridge);
  smallKindData(w, spec);
}

/**
 * What the kernel does not take from the request that makes a link (rtnl_create_link), by the end of the pair it
 * concerns: aliases, which it passes over, and the peer's being up, which it refuses.
 */
export function afterCreation(spec: LinkSpec): [LinkSpec | VethPeer, LinkChange][] {
  const out: [LinkSpec | VethPeer, LinkChange][] = [];
  if (spec.alias !== undefined) out.push([spec, { alias: spec.alias }]);
  const { peer } = spec;
  if (peer !== undefined && (peer.alias !== undefined || peer.up === true)) {
    out.push([
      peer,
      { ...(peer.alias === undefined ? {} : { alias: peer.alias }), ...(peer.up === true ? { up: true } : {}) },
    ]);
  }
  return out;
}

/** Body of RTM_NEWLINK that changes a link. Settings of a bridge port need a message of their own. */
export function encodeLinkChange(w: NlWriter, link: string | number, change: LinkChange): void {
  let flags = 0;
  let mask = 0;
  const bit = (on: boolean | undefined, value: number): void => {
    if (on === undefined) return;
    mask |= value;
    if (on) flags |= value;
  };
  bit(change.up, IFF_UP);
  bit(change.promisc, IFF_PROMISC);
  bit(change.allmulti, IFF_ALLMULTI);
  bit(change.arp === undefined ? undefined : !change.arp, IFF_NOARP);
  if (change.name === undefined) linkRef(w, link, flags, mask);
  else {
    checkName(change.name, `link ${link}`);
    if (typeof link === 'string') {
      // The name attribute is either what to find the link by or its new name.
      throw new KernelError({ errno: EINVAL, operation: 'rename link', object: link, hint: 'give its index' });
    }
    ifinfo(w, link, flags, mask);
    w.str(IFLA.IFNAME, change.name);
  }
  common(w, change);
  if (change.master !== undefined) w.u32(IFLA.MASTER, change.master);
  if (change.addrgenmode !== undefined) {
    const spec = w.nest(IFLA.AF_SPEC);
    const inet6 = w.nest(AF_INET6);
    w.u8(IFLA_INET6_ADDR_GEN_MODE, change.addrgenmode === 'none' ? 1 : 0);
    w.endNest(inet6);
    w.endNest(spec);
  }
}

/** True when the change sets anything besides bridge-port settings. */
export function changesLink(change: LinkChange): boolean {
  const port = bridgePort(change);
  return Object.entries(change).some(([key, value]) => value !== undefined && !(key in port));
}

/** Body of RTM_NEWLINK that sets bridge-port settings of a link. */
export function encodeBridgePort(w: NlWriter, link: string | number, change: LinkChange): void {
  linkRef(w, link);
  const info = w.nest(IFLA.LINKINFO);
  w.str(INFO_SLAVE_KIND, 'bridge');
  const data = w.nest(INFO_SLAVE_DATA);
  portData(w, bridgePort(change));
  w.endNest(data);
  w.endNest(info);
}

/** Names a link by index or name. */
function linkRef(w: NlWriter, link: string | number, flags = 0, change = 0): void {
  ifinfo(w, typeof link === 'number' ? link : 0, flags, change);
  if (typeof link === 'number') return;
  // Names longer than a link name can only be alternative names.
  w.str(Buffer.byteLength(link) > 15 ? IFLA.ALT_IFNAME : IFLA.IFNAME, link);
}

/** Body of RTM_DELLINK or RTM_GETLINK for one link. */
export function encodeLinkRef(w: NlWriter, link: string | number, get = false): void {
  linkRef(w, link);
  if (get) w.u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
}

/** Body of RTM_DELLINK that deletes every link of a group. */
export function encodeLinkGroup(w: NlWriter, group: number): void {
  ifinfo(w, 0);
  w.u32(IFLA.GROUP, group);
}

/** Body of RTM_GETLINK that lists links. */
export function encodeLinkDump(w: NlWriter, filter: { readonly kind?: string; readonly master?: number }): void {
  ifinfo(w, 0);
  w.u32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  if (filter.master !== undefined) w.u32(IFLA.MASTER, filter.master);
  if (filter.kind !== undefined) {
    const info = w.nest(IFLA.LINKINFO);
    w.str(INFO_KIND, filter.kind);
    w.endNest(info);
  }
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

/** Reads RTM_NEWLINK / RTM_DELLINK. */
export function decodeLink(m: NlMessage): Link {
  const flags = get32(m.bytes, m.start + 8);
  const link: Mutable<Link> = {
    index: get32(m.bytes, m.start + 4),
    name: '',
    mtu: 0,
    flags,
    up: (flags & IFF_UP) !== 0,
    running: (flags & IFF_LOWER_UP) !== 0,
    loopback: (flags & IFF_LOOPBACK) !== 0,
  };
  const a = new NlReader(m.bytes, m.start + 16, m.end);
  while (a.next()) {
    switch (a.type) {
      case IFLA.IFNAME:
        link.name = a.str();
        break;
      case IFLA.MTU:
        link.mtu = a.u32();
        break;
      case IFLA.ADDRESS:
        // Tunnels have an IP address as their link-layer address.
        link.mac = a.length === 6 ? macText(a.data()) : a.length === 4 || a.length === 16 ? formatIp(a.data()) : '';
        break;
      case IFLA.LINK:
        link.linkIndex = a.u32();
        break;
      case IFLA.MASTER:
        link.master = a.u32();
        break;
      case IFLA.TXQLEN:
        link.txqlen = a.u32();
        break;
      case IFLA.IFALIAS:
        link.alias = a.str();
        break;
      case IFLA.GROUP:
        link.group = a.u32();
        break;
      case IFLA.LINK_NETNSID:
        link.linkNetnsId = a.s32();
        break;
      case IFLA.PROP_LIST: {
        const names: string[] = [];
        const p = a.nested();
        while (p.next()) if (p.type === IFLA.ALT_IFNAME) names.push(p.str());
        if (names.length > 0) link.altNames = names;
        break;
      }
      case IFLA.LINKINFO:
        readInfo(link, a.nested());
        break;
      default:
    }
  }
  return link;
}

function readInfo(link: Mutable<Link>, a: NlReader): void {
  let kind = '';
  while (a.next()) {
    if (a.type === INFO_KIND) {
      kind = a.str();
      link.kind = kind;
    } else if (a.type === INFO_DATA) readKind(link, kind, a.nested());
    else if (a.type === INFO_SLAVE_KIND) link.portKind = a.str();
    else if (a.type === INFO_SLAVE_DATA && link.portKind === 'bridge') link.port = readPort(a.nested());
  }
}

function readKind(link: Mutable<Link>, kind: string, a: NlReader): void {
  if (kind === 'vxlan') link.vxlan = readVxlan(a);
  else if (kind === 'bridge') link.bridge = readBridge(a);
  else readSmallKind(link, kind, a);
}

/** Address family field of an `ifinfomsg`: AF_BRIDGE messages describe ports, not links. */
export function linkFamily(m: NlMessage): number {
  return get16(m.bytes, m.start) & 0xff;
}
