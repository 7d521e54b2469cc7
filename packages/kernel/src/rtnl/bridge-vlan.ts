import type { NlWriter } from '../netlink/wire.ts';
import { AF_BRIDGE } from './bytes.ts';

export const RTM_SETLINK = 19;
const IFLA_AF_SPEC = 26;
const IFLA_BRIDGE_FLAGS = 0;
const IFLA_BRIDGE_VLAN_INFO = 2;
/** The VLANs of the bridge itself, not of a port. */
const BRIDGE_FLAGS_SELF = 2;
const VLAN_PVID = 2;
const VLAN_UNTAGGED = 4;
const VLAN_RANGE_BEGIN = 8;
const VLAN_RANGE_END = 16;

/** VLANs that a port of a bridge with `vlanFiltering` (or with `self` the bridge itself) belongs to. */
export interface BridgeVlan {
  readonly index: number;
  readonly id: number;
  /** Last one of a range. */
  readonly last?: number;
  /** Untagged frames that come in belong to it. */
  readonly pvid?: boolean;
  /** Its frames leave without a tag. */
  readonly untagged?: boolean;
  readonly self?: boolean;
}

/** Body of RTM_SETLINK or RTM_DELLINK of family bridge (linux/if_bridge.h). */
export function encodeBridgeVlan(w: NlWriter, vlan: BridgeVlan): void {
  w.put8(AF_BRIDGE);
  w.put32(vlan.index);
  w.put32(0);
  w.put32(0);
  const spec = w.nest(IFLA_AF_SPEC);
  if (vlan.self === true) w.u16(IFLA_BRIDGE_FLAGS, BRIDGE_FLAGS_SELF);
  const flags = (vlan.pvid === true ? VLAN_PVID : 0) | (vlan.untagged === true ? VLAN_UNTAGGED : 0);
  const info = (more: number, id: number): void =>
    w.data(IFLA_BRIDGE_VLAN_INFO, new Uint8Array(new Uint16Array([flags | more, id]).buffer));
  if (vlan.last === undefined || vlan.last === vlan.id) info(0, vlan.id);
  else {
    info(VLAN_RANGE_BEGIN, vlan.id);
    info(VLAN_RANGE_END, vlan.last);
  }
  w.endNest(spec);
}
