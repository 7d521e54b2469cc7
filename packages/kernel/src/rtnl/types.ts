import type { NetNs } from '../sys/netns.ts';

export interface VxlanOptions {
  /** VXLAN network identifier, 0..2^24-1. */
  readonly id?: number;
  /** Address of the underlay interface to send from. */
  readonly local?: string;
  /** Default remote or multicast group. */
  readonly remote?: string;
  /** UDP destination port; the kernel's default is 8472, IANA's 4789. */
  readonly port?: number;
  /** Underlay interface index. */
  readonly dev?: number;
  /** Learn remote MACs from received frames (kernel default true). */
  readonly learning?: boolean;
  readonly ttl?: number;
  readonly tos?: number;
  /** Entries age out after this many seconds. */
  readonly ageing?: number;
  /** Answer ARP for known neighbours. */
  readonly proxy?: boolean;
  readonly l2miss?: boolean;
  readonly l3miss?: boolean;
  readonly udpCsum?: boolean;
  readonly udpZeroCsum6Tx?: boolean;
  readonly udpZeroCsum6Rx?: boolean;
  /** Group-based policy extension (a mark travels with the packet). */
  readonly gbp?: boolean;
  /** Tunnel parameters come with each packet (external). */
  readonly collectMetadata?: boolean;
  /** UDP source port range, inclusive. */
  readonly portRange?: readonly [low: number, high: number];
}

export interface BridgeOptions {
  /** Spanning tree: 0 off, 1 on. */
  readonly stp?: boolean;
  readonly vlanFiltering?: boolean;
  readonly vlanDefaultPvid?: number;
  readonly mcastSnooping?: boolean;
  /** Centiseconds (USER_HZ), as the kernel counts. */
  readonly forwardDelay?: number;
  readonly ageingTime?: number;
  readonly priority?: number;
  readonly groupFwdMask?: number;
}

export type MacvlanMode = 'private' | 'vepa' | 'bridge' | 'passthru' | 'source';

export interface MacvlanOptions {
  /** Index of the lower interface. */
  readonly parent: number;
  readonly mode?: MacvlanMode;
  /** Length of the queue of broadcast frames that wait to be copied; the kernel's default is 1000. */
  readonly bcQueueLen?: number;
}

export type IpvlanMode = 'l2' | 'l3' | 'l3s';

/** What the kernel tells of a tun or tap device. */
export interface TunInfo {
  /** Packets (`tun`) or frames (`tap`). */
  readonly mode: 'tun' | 'tap';
  /** User id that may open it; absent: root only. */
  readonly owner?: number;
  readonly group?: number;
  readonly vnetHdr?: boolean;
  /** It stays when nobody has it open. */
  readonly persist?: boolean;
  readonly multiQueue?: boolean;
}

export interface VethPeer {
  readonly name: string;
  /** Namespace the peer is created in. */
  readonly ns?: NetNs;
  readonly mac?: string;
  readonly mtu?: number;
  readonly up?: boolean;
  readonly alias?: string;
  readonly txqlen?: number;
}

/** What a new link is. */
export interface LinkSpec {
  readonly name: string;
  /** Driver: `veth`, `bridge`, `vxlan`, `macvlan`, `dummy`, `ifb`, `vlan`, `ipvlan`, `vrf`, `ipip`, `wireguard` … */
  readonly kind: string;
  readonly mtu?: number;
  /** `02:00:00:00:00:01`. */
  readonly mac?: string;
  readonly up?: boolean;
  /** Index of the bridge (or vrf, bond) it belongs to. */
  readonly master?: number;
  readonly alias?: string;
  /** Number for group operations. */
  readonly group?: number;
  /** Created straight in this namespace. */
  readonly ns?: NetNs;
  readonly txqlen?: number;
  /** Asked interface index. */
  readonly index?: number;
  readonly numTxQueues?: number;
  readonly numRxQueues?: number;
  readonly peer?: VethPeer;
  readonly vxlan?: VxlanOptions;
  readonly macvlan?: MacvlanOptions;
  readonly bridge?: BridgeOptions;
  /** 802.1Q: lower interface and VLAN id. */
  readonly vlan?: { readonly parent: number; readonly id: number };
  readonly ipvlan?: { readonly parent: number; readonly mode?: IpvlanMode };
  readonly vrf?: { readonly table: number };
  /** ipip tunnel. */
  readonly ipip?: { readonly local?: string; readonly remote?: string; readonly ttl?: number; readonly dev?: number };
  /** A tunnel whose parameters come with each packet (`external`), from routes with `encap`. */
  readonly external?: ExternalTunnel;
}

/** A collect-metadata tunnel device. */
export interface ExternalTunnel {
  readonly kind: 'ipip' | 'ip6tnl' | 'gre' | 'ip6gre' | 'geneve';
  /** UDP port (geneve only; the kernel's default is 6081). */
  readonly port?: number;
}

/** Settings of a bridge port. */
export interface BridgePort {
  /** Frames may leave by the port they came in. */
  readonly hairpin?: boolean;
  /** Isolated ports do not talk to each other. */
  readonly isolated?: boolean;
  readonly learning?: boolean;
  readonly flood?: boolean;
  readonly mcastFlood?: boolean;
  readonly neighSuppress?: boolean;
  readonly guard?: boolean;
}

/** Changes to a link; what is absent stays. */
export interface LinkChange extends BridgePort {
  readonly up?: boolean;
  readonly mtu?: number;
  readonly mac?: string;
  /** Index of the new master, 0 for none. */
  readonly master?: number;
  readonly name?: string;
  readonly ns?: NetNs;
  readonly alias?: string;
  readonly group?: number;
  readonly txqlen?: number;
  readonly promisc?: boolean;
  /** Takes frames to all multicast addresses. */
  readonly allmulti?: boolean;
  readonly arp?: boolean;
  /** IPv6 address generation: `none` gives no link-local address. */
  readonly addrgenmode?: 'eui64' | 'none';
}

/** A link as the kernel lists it. */
export interface Link {
  readonly index: number;
  readonly name: string;
  readonly kind?: string;
  readonly mtu: number;
  readonly mac?: string;
  /** IFF_* bits. */
  readonly flags: number;
  /** Administratively up. */
  readonly up: boolean;
  /** Operational: it has a carrier and can pass frames. */
  readonly running: boolean;
  readonly loopback: boolean;
  readonly master?: number;
  /** Kind of the master this link is a port of (`bridge`, …). */
  readonly portKind?: string;
  readonly port?: BridgePort;
  /** veth peer, or lower device of vlan, macvlan, vxlan. */
  readonly linkIndex?: number;
  /** Namespace id (as `ip netns list-id` counts) of `linkIndex`, when it is another namespace. */
  readonly linkNetnsId?: number;
  readonly alias?: string;
  readonly group?: number;
  readonly txqlen?: number;
  readonly altNames?: readonly string[];
  readonly vxlan?: VxlanOptions;
  readonly bridge?: BridgeOptions;
  readonly macvlan?: { readonly mode: MacvlanMode; readonly bcQueueLen?: number };
  readonly ipvlan?: { readonly mode: IpvlanMode };
  readonly tun?: TunInfo;
  readonly vlan?: { readonly id: number };
  readonly vrf?: { readonly table: number };
  readonly external?: ExternalTunnel;
}

export type Scope = 'global' | 'site' | 'link' | 'host' | 'nowhere';

export interface AddressSpec {
  readonly index: number;
  /** Address with prefix length: `10.0.0.1/24`. */
  readonly address: string;
  readonly scope?: Scope;
  /** IPv6: usable at once, no duplicate detection. */
  readonly noDad?: boolean;
  /** Other end of a point-to-point address, without length. */
  readonly peer?: string;
  readonly broadcast?: string;
  readonly label?: string;
  /** Do not add the prefix route. */
  readonly noPrefixRoute?: boolean;
}

export interface Address extends AddressSpec {
  readonly family: 4 | 6;
  /** IFA_F_* bits. */
  readonly flags: number;
  /** Duplicate detection is still running. */
  readonly tentative: boolean;
}

export type RouteType =
  | 'unicast'
  | 'local'
  | 'broadcast'
  | 'anycast'
  | 'multicast'
  | 'blackhole'
  | 'unreachable'
  | 'prohibit'
  | 'throw'
  | 'nat';

export interface NextHop {
  readonly via?: string;
  readonly oif?: number;
  /** 1..256. */
  readonly weight?: number;
  readonly onlink?: boolean;
}

export interface Route {
  /** `default` (needs `family` or `via`), or a prefix; an address alone is a host route. */
  readonly dst: string;
  readonly via?: string;
  /** Outgoing interface index. */
  readonly oif?: number;
  /** Preferred source address. */
  readonly src?: string;
  /** Default 254 (main). */
  readonly table?: number;
  /** Who made it: 2 kernel, 3 boot, 4 static (default 3, as `ip`). */
  readonly protocol?: number;
  readonly scope?: Scope;
  readonly onlink?: boolean;
  readonly mtu?: number;
  readonly advmss?: number;
  readonly metric?: number;
  readonly type?: RouteType;
  readonly family?: 4 | 6;
  readonly nexthops?: readonly NextHop[];
  /** What a collect-metadata tunnel device puts around the packets of this route. */
  readonly encap?: Encap;
}

/** Tunnel parameters of a route (`ip route … encap ip|ip6`). */
export interface Encap {
  /** Address of the remote end; its family is the one of the outer header. */
  readonly dst: string;
  readonly src?: string;
  /** Network identifier (geneve, vxlan) or key (gre). */
  readonly id?: number;
  /** Outer UDP packets have a checksum. */
  readonly csum?: boolean;
}

export interface Rule {
  readonly family?: 4 | 6;
  readonly priority?: number;
  /** Default 254 (main). */
  readonly table?: number;
  readonly from?: string;
  readonly to?: string;
  readonly fwmark?: number;
  readonly fwmask?: number;
  readonly iif?: string;
  readonly oif?: string;
  readonly tos?: number;
  /** Default `lookup` (the table). */
  readonly action?: 'lookup' | 'blackhole' | 'unreachable' | 'prohibit' | 'goto' | 'nop';
  readonly goto?: number;
  readonly protocol?: number;
  readonly ipProto?: number;
  readonly sport?: readonly [number, number];
  readonly dport?: readonly [number, number];
  readonly suppressPrefixLength?: number;
  readonly invert?: boolean;
}

export type NeighbourState =
  | 'incomplete'
  | 'reachable'
  | 'stale'
  | 'delay'
  | 'probe'
  | 'failed'
  | 'noarp'
  | 'permanent'
  | 'none';

export interface Neighbour {
  /** Interface index. */
  readonly index: number;
  readonly address: string;
  readonly mac?: string;
  /** Default permanent. */
  readonly state?: NeighbourState;
  /** Proxy entry: this host answers for the address. */
  readonly proxy?: boolean;
  readonly router?: boolean;
  readonly externLearn?: boolean;
  readonly protocol?: number;
}

export interface FdbEntry {
  readonly index: number;
  readonly mac: string;
  /** vxlan: address of the remote end. */
  readonly dst?: string;
  readonly vni?: number;
  readonly port?: number;
  /** vxlan: underlay interface. */
  readonly via?: number;
  readonly vlan?: number;
  /** The device's own table (vxlan); default when `master` is not asked. */
  readonly self?: boolean;
  /** The table of the bridge the device is a port of. */
  readonly master?: boolean;
  /** Default permanent; `static` is permanent for the bridge but not local. */
  readonly state?: 'permanent' | 'static' | 'dynamic';
}

export type RtGroup = 'link' | 'address4' | 'address6' | 'route4' | 'route6' | 'neigh' | 'rule4' | 'rule6';

/** A change the kernel announces. */
export type RtEvent =
  | { readonly type: 'link'; readonly action: 'set' | 'del'; readonly link: Link }
  | { readonly type: 'address'; readonly action: 'set' | 'del'; readonly address: Address }
  | { readonly type: 'route'; readonly action: 'set' | 'del'; readonly route: Route }
  | { readonly type: 'rule'; readonly action: 'set' | 'del'; readonly rule: Rule }
  | { readonly type: 'neighbour'; readonly action: 'set' | 'del'; readonly neighbour: Neighbour }
  | { readonly type: 'fdb'; readonly action: 'set' | 'del'; readonly entry: FdbEntry };
