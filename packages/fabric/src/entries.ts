import type { Entry, Plan, Provenance } from '@weft/plan';

/** A device of ours. */
export type DeviceEntry = VxlanDevice | TunnelDevice;

/** A vxlan device: where it sends to is in its forwarding table. */
interface VxlanDevice {
  readonly type: 'device';
  readonly kind: 'vxlan';
  readonly name: string;
  readonly vni: number;
  /** UDP port. */
  readonly port: number;
  /** Address tunnel packets are sent from. */
  readonly local: string;
  readonly mac: string;
  readonly mtu: number;
}

/** A tunnel whose ends are in the routes that lead to it. */
export interface TunnelDevice {
  readonly type: 'device';
  readonly kind: 'ipip' | 'ip6tnl' | 'gre' | 'ip6gre' | 'geneve';
  readonly name: string;
  readonly mtu: number;
  /** Of those that carry frames. */
  readonly mac?: string;
  /** UDP port of those that have one. */
  readonly port?: number;
}

/** Ends of a tunnel, and what else its headers say; in a route. */
export interface TunnelEncap {
  readonly src: string;
  readonly dst: string;
  readonly id?: number;
  readonly csum?: boolean;
}

/** An address of a device of ours. */
interface AddressEntry {
  readonly type: 'address';
  readonly device: string;
  /** With length. */
  readonly address: string;
}

/** A route with our protocol number. */
interface RouteEntry {
  readonly type: 'route';
  readonly dst: string;
  readonly kind: 'unicast' | 'unreachable';
  readonly via?: string;
  /** Several next hops instead of one, in order: packets are spread over them. */
  readonly hops?: readonly string[];
  /** Who says so, when it is not the fabric itself: it then has a protocol number of its own. */
  readonly protocol?: 'bgp';
  /** Device of ours, or the underlay's without `via`; absent: the kernel finds the way to `via`. */
  readonly device?: string;
  readonly encap?: TunnelEncap;
  readonly metric?: number;
}

/** Where a next hop on a device of ours is. */
interface NeighbourEntry {
  readonly type: 'neighbour';
  readonly device: string;
  readonly address: string;
  readonly mac: string;
}

/** Which node a tunnel MAC address belongs to. */
interface FdbEntry {
  readonly type: 'fdb';
  readonly device: string;
  readonly mac: string;
  /** Address of the node. */
  readonly dst: string;
}

/** An address of a pod that this node answers for by ARP or NDP. */
interface ProxyEntry {
  readonly type: 'proxy';
  /** The underlay's. */
  readonly device: string;
  readonly address: string;
}

/** The masquerade rules themselves. */
interface MasqueradeEntry {
  readonly type: 'masquerade';
}

/** An element of the masquerade rules' sets: pod addresses, or destinations that are reached without translation. */
export interface MasqueradeSetEntry {
  readonly type: 'masquerade-set';
  readonly set: 'pods' | 'direct';
  readonly cidr: string;
}

export type FabricEntry =
  | DeviceEntry
  | AddressEntry
  | RouteEntry
  | NeighbourEntry
  | FdbEntry
  | ProxyEntry
  | MasqueradeEntry
  | MasqueradeSetEntry;

export type FabricPlan = Plan<FabricEntry>;

/** The key of an entry: what the kernel tells two of its kind apart by. */
export function entryKey(entry: FabricEntry): string {
  switch (entry.type) {
    case 'device':
      return `device/${entry.name}`;
    case 'address':
      return `address/${entry.device}/${entry.address}`;
    case 'route':
      // Beside what another backend has for the destination: their metrics differ.
      if (entry.protocol === 'bgp') return `bgp/${entry.dst}`;
      // An unreachable route stands behind others of its destination, by its metric.
      return `${entry.kind === 'unreachable' ? 'unreachable' : 'route'}/${entry.dst}`;
    case 'neighbour':
      return `neighbour/${entry.device}/${entry.address}`;
    case 'fdb':
      return `fdb/${entry.device}/${entry.mac}`;
    case 'proxy':
      return `proxy/${entry.device}/${entry.address}`;
    case 'masquerade':
      return 'masquerade';
    case 'masquerade-set':
      return `masquerade/${entry.set}/${entry.cidr}`;
  }
}

/** A plan of entries that one object causes. */
export class PlanBuilder {
  readonly #entries = new Map<string, Entry<FabricEntry>>();
  readonly #node: string;

  constructor(node: string) {
    this.#node = node;
  }

  add(entry: FabricEntry, field: string): void {
    this.addFor(entry, { kind: 'Node', name: this.#node, field });
  }

  /** Adds an entry that another object than the node causes. */
  addFor(entry: FabricEntry, cause: Provenance): void {
    this.#entries.set(entryKey(entry), { value: entry, cause });
  }

  build(): FabricPlan {
    return this.#entries;
  }
}
