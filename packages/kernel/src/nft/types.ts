import type { Expr } from './expr-types.ts';

/** nftables table families (`nft` names). */
export type NftFamily = 'ip' | 'ip6' | 'inet' | 'bridge' | 'netdev' | 'arp';

/** Data types a set key or map value can have; the names are those `nft list` prints. */
export type DataType =
  | 'integer'
  | 'ipv4_addr'
  | 'ipv6_addr'
  | 'ether_addr'
  | 'ether_type'
  | 'inet_proto'
  | 'inet_service'
  | 'icmp_type'
  | 'icmpv6_type'
  | 'tcp_flag'
  | 'mark'
  | 'iface_index'
  | 'ifname'
  | 'classid'
  | 'realm'
  | 'uid'
  | 'gid'
  | 'ct_state'
  | 'ct_status'
  | 'ct_dir'
  | 'pkt_type'
  | 'devgroup'
  | 'dscp'
  | 'fib_addrtype'
  | 'boolean'
  | 'nf_proto';

/** What happens to a packet: a terminal verdict, or a chain to visit (`jump` comes back, `goto` does not). */
export type Verdict =
  | 'accept'
  | 'drop'
  | 'return'
  | 'continue'
  | 'break'
  | { readonly jump: string }
  | { readonly goto: string };

export interface TableRef {
  readonly family: NftFamily;
  /** Table name. */
  readonly name: string;
}

export interface TableSpec extends TableRef {
  readonly comment?: string;
  /** Table is present but its base chains are not called. */
  readonly dormant?: boolean;
}

export type HookName = 'prerouting' | 'input' | 'forward' | 'output' | 'postrouting' | 'ingress' | 'egress';

export interface ChainRef {
  readonly family: NftFamily;
  readonly table: string;
  readonly name: string;
}

/** Where a base chain is called from. */
export interface ChainHook {
  readonly hook: HookName;
  /** Lower numbers run first: dstnat -100, filter 0, srcnat 100. */
  readonly priority: number;
  readonly type: 'filter' | 'nat' | 'route';
  /** Device, for `netdev` (and `inet` ingress) chains. */
  readonly device?: string;
}

export interface ChainSpec extends ChainRef {
  /** Present: a base chain. Absent: a regular chain reached by jump or goto. */
  readonly hook?: ChainHook;
  /** Verdict at the end of a base chain; default accept. */
  readonly policy?: 'accept' | 'drop';
  readonly comment?: string;
}

export interface RuleSpec {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly exprs: readonly Expr[];
  /** Shown by `nft list`; at most 127 bytes. */
  readonly comment?: string;
  /** Handle of a rule to add after (`addRule`) or insert before (`insertRule`). */
  readonly position?: bigint;
}

export interface RuleRef {
  readonly family: NftFamily;
  readonly table: string;
  readonly chain: string;
  readonly handle: bigint;
}

export interface SetRef {
  readonly family: NftFamily;
  readonly table: string;
  readonly name: string;
}

export interface SetSpec extends SetRef {
  /** One type, or the fields of a concatenation in order. */
  readonly key: DataType | readonly DataType[];
  /** Makes it a map (`'verdict'`: a verdict map); a list is a concatenated value. */
  readonly data?: DataType | 'verdict' | readonly DataType[];
  readonly flags?: {
    /** Elements are ranges. */
    readonly interval?: boolean;
    /** Elements may expire. */
    readonly timeout?: boolean;
    /** Rules add, update or delete elements (`dynset`). */
    readonly dynamic?: boolean;
    /** Elements never change after creation. */
    readonly constant?: boolean;
  };
  /** Default life of an element, milliseconds. */
  readonly timeout?: number;
  /** How often expired elements are collected, milliseconds. */
  readonly gcInterval?: number;
  /** Largest number of elements. */
  readonly size?: number;
  /** Every element counts packets and bytes. */
  readonly counter?: boolean;
  readonly comment?: string;
}

/**
 * An element of a set or map. Bytes are exactly what the register holds: network order for addresses and ports, host
 * order for marks, class ids, interface indexes and plain integers; fields of a concatenation are each padded to 4 bytes
 * (see `fields`).
 */
export interface Element {
  readonly key: Uint8Array;
  /** Last key of a range, inclusive (interval sets). */
  readonly keyEnd?: Uint8Array;
  readonly data?: Uint8Array | Verdict;
  /** Life of this element, milliseconds. */
  readonly timeout?: number;
  /** Shown by `nft list`; at most 127 bytes. */
  readonly comment?: string;
}

export interface ListedTable extends TableSpec {
  readonly handle: bigint;
  /** Number of chains in it. */
  readonly chains: number;
}

export interface ListedChain extends ChainSpec {
  readonly handle: bigint;
  /** Number of rules in it plus references to it. */
  readonly use: number;
}

export interface ListedRule extends RuleSpec {
  readonly handle: bigint;
}

export interface ListedSet extends SetSpec {
  readonly handle: bigint;
  /** Bytes of a key, padding included. */
  readonly keyLength: number;
}

export interface ListedElement extends Element {
  /** Milliseconds left. */
  readonly expires?: number;
  readonly counter?: { readonly packets: bigint; readonly bytes: bigint };
}
