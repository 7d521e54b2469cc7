import { formatIp } from '@weft/net';
import type { NlReader, NlWriter } from '../netlink/wire.ts';
import { ipBytesOf } from './bytes.ts';
import type { BridgeOptions, BridgePort, VxlanOptions } from './types.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const VXLAN = {
  ID: 1,
  GROUP: 2,
  LINK: 3,
  LOCAL: 4,
  TTL: 5,
  TOS: 6,
  LEARNING: 7,
  AGEING: 8,
  PORT_RANGE: 10,
  PROXY: 11,
  L2MISS: 13,
  L3MISS: 14,
  PORT: 15,
  GROUP6: 16,
  LOCAL6: 17,
  UDP_CSUM: 18,
  ZERO_CSUM6_TX: 19,
  ZERO_CSUM6_RX: 20,
  GBP: 23,
  COLLECT_METADATA: 25,
} as const;

const VXLAN_FLAGS = [
  ['learning', VXLAN.LEARNING],
  ['proxy', VXLAN.PROXY],
  ['l2miss', VXLAN.L2MISS],
  ['l3miss', VXLAN.L3MISS],
  ['udpCsum', VXLAN.UDP_CSUM],
  ['udpZeroCsum6Tx', VXLAN.ZERO_CSUM6_TX],
  ['udpZeroCsum6Rx', VXLAN.ZERO_CSUM6_RX],
  ['collectMetadata', VXLAN.COLLECT_METADATA],
] as const;

/** IFLA_INFO_DATA of a vxlan link. */
export function vxlanData(w: NlWriter, o: VxlanOptions): void {
  if (o.id !== undefined) w.u32(VXLAN.ID, o.id);
  if (o.dev !== undefined) w.u32(VXLAN.LINK, o.dev);
  if (o.remote !== undefined) {
    const bytes = ipBytesOf(o.remote, 'vxlan remote');
    w.data(bytes.length === 4 ? VXLAN.GROUP : VXLAN.GROUP6, bytes);
  }
  if (o.local !== undefined) {
    const bytes = ipBytesOf(o.local, 'vxlan local');
    w.data(bytes.length === 4 ? VXLAN.LOCAL : VXLAN.LOCAL6, bytes);
  }
  if (o.ttl !== undefined) w.u8(VXLAN.TTL, o.ttl);
  if (o.tos !== undefined) w.u8(VXLAN.TOS, o.tos);
  if (o.ageing !== undefined) w.u32(VXLAN.AGEING, o.ageing);
  if (o.port !== undefined) w.u16be(VXLAN.PORT, o.port);
  if (o.portRange !== undefined) {
    const [low, high] = o.portRange;
    w.data(VXLAN.PORT_RANGE, Uint8Array.of(low >> 8, low, high >> 8, high));
  }
  for (const [key, type] of VXLAN_FLAGS) if (o[key] !== undefined) w.u8(type, o[key] ? 1 : 0);
  if (o.gbp === true) w.flag(VXLAN.GBP);
}

export function readVxlan(a: NlReader): VxlanOptions {
  const o: Mutable<VxlanOptions> = {};
  while (a.next()) {
    switch (a.type) {
      case VXLAN.ID:
        o.id = a.u32();
        break;
      case VXLAN.LINK:
        o.dev = a.u32();
        break;
      case VXLAN.GROUP:
      case VXLAN.GROUP6:
        o.remote = formatIp(a.data());
        break;
      case VXLAN.LOCAL:
      case VXLAN.LOCAL6:
        o.local = formatIp(a.data());
        break;
      case VXLAN.TTL:
        o.ttl = a.u8();
        break;
      case VXLAN.TOS:
        o.tos = a.u8();
        break;
      case VXLAN.AGEING:
        o.ageing = a.u32();
        break;
      case VXLAN.PORT:
        o.port = a.u16be();
        break;
      case VXLAN.PORT_RANGE: {
        const d = a.data();
        o.portRange = [((d[0] ?? 0) << 8) | (d[1] ?? 0), ((d[2] ?? 0) << 8) | (d[3] ?? 0)];
        break;
      }
      case VXLAN.GBP:
        o.gbp = true;
        break;
      default: {
        const flag = VXLAN_FLAGS.find(([, type]) => type === a.type);
        if (flag !== undefined) o[flag[0]] = a.u8() !== 0;
      }
    }
  }
  return o;
}

const BR = {
  FORWARD_DELAY: 1,
  AGEING_TIME: 4,
  STP_STATE: 5,
  PRIORITY: 6,
  VLAN_FILTERING: 7,
  GROUP_FWD_MASK: 9,
  MCAST_SNOOPING: 23,
  VLAN_DEFAULT_PVID: 39,
} as const;

/** IFLA_INFO_DATA of a bridge. */
export function bridgeData(w: NlWriter, o: BridgeOptions): void {
  if (o.forwardDelay !== undefined) w.u32(BR.FORWARD_DELAY, o.forwardDelay);
  if (o.ageingTime !== undefined) w.u32(BR.AGEING_TIME, o.ageingTime);
  if (o.stp !== undefined) w.u32(BR.STP_STATE, o.stp ? 1 : 0);
  if (o.priority !== undefined) w.u16(BR.PRIORITY, o.priority);
  if (o.vlanFiltering !== undefined) w.u8(BR.VLAN_FILTERING, o.vlanFiltering ? 1 : 0);
  if (o.groupFwdMask !== undefined) w.u16(BR.GROUP_FWD_MASK, o.groupFwdMask);
  if (o.mcastSnooping !== undefined) w.u8(BR.MCAST_SNOOPING, o.mcastSnooping ? 1 : 0);
  if (o.vlanDefaultPvid !== undefined) w.u16(BR.VLAN_DEFAULT_PVID, o.vlanDefaultPvid);
}

export function readBridge(a: NlReader): BridgeOptions {
  const o: Mutable<BridgeOptions> = {};
  while (a.next()) {
    switch (a.type) {
      case BR.FORWARD_DELAY:
        o.forwardDelay = a.u32();
        break;
      case BR.AGEING_TIME:
        o.ageingTime = a.u32();
        break;
      case BR.STP_STATE:
        o.stp = a.u32() !== 0;
        break;
      case BR.PRIORITY:
        o.priority = a.u16();
        break;
      case BR.VLAN_FILTERING:
        o.vlanFiltering = a.u8() !== 0;
        break;
      case BR.GROUP_FWD_MASK:
        o.groupFwdMask = a.u16();
        break;
      case BR.MCAST_SNOOPING:
        o.mcastSnooping = a.u8() !== 0;
        break;
      case BR.VLAN_DEFAULT_PVID:
        o.vlanDefaultPvid = a.u16();
        break;
      default:
    }
  }
  return o;
}

const PORT_FLAGS = [
  ['hairpin', 4],
  ['guard', 5],
  ['learning', 8],
  ['flood', 9],
  ['mcastFlood', 27],
  ['neighSuppress', 32],
  ['isolated', 33],
] as const satisfies readonly (readonly [keyof BridgePort, number])[];

/** The bridge-port settings among a link's changes. */
export function bridgePort(change: BridgePort): BridgePort {
  const port: Mutable<BridgePort> = {};
  for (const [key] of PORT_FLAGS) if (change[key] !== undefined) port[key] = change[key];
  return port;
}

/** IFLA_INFO_SLAVE_DATA of a bridge port. */
export function portData(w: NlWriter, port: BridgePort): void {
  for (const [key, type] of PORT_FLAGS) if (port[key] !== undefined) w.u8(type, port[key] ? 1 : 0);
}

export function readPort(a: NlReader): BridgePort {
  const port: Mutable<BridgePort> = {};
  while (a.next()) {
    const flag = PORT_FLAGS.find(([, type]) => type === a.type);
    if (flag !== undefined) port[flag[0]] = a.u8() !== 0;
  }
  return port;
}
