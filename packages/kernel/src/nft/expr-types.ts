import type { Verdict } from './types.ts';

/**
 * A register number: make it with `reg32(0..15)` (4 bytes each) or `reg(1..4)` (16 bytes each; `reg(n + 1)` is the same
 * memory as `reg32(4 * n)` to `reg32(4 * n + 3)`). A value longer than 4 bytes fills the registers that follow.
 */
export type Register = number;

export type MetaKey =
  | 'len'
  | 'protocol'
  | 'priority'
  | 'mark'
  | 'iif'
  | 'oif'
  | 'iifname'
  | 'oifname'
  | 'iiftype'
  | 'oiftype'
  | 'skuid'
  | 'skgid'
  | 'nftrace'
  | 'rtclassid'
  | 'secmark'
  | 'nfproto'
  | 'l4proto'
  | 'ibrname'
  | 'obrname'
  | 'pkttype'
  | 'cpu'
  | 'iifgroup'
  | 'oifgroup'
  | 'cgroup'
  | 'random'
  | 'secpath'
  | 'iifkind'
  | 'oifkind'
  | 'ibrpvid'
  | 'ibrvproto'
  | 'time'
  | 'day'
  | 'hour'
  | 'sdif'
  | 'sdifname';

export type CtKey =
  | 'state'
  | 'direction'
  | 'status'
  | 'mark'
  | 'secmark'
  | 'expiration'
  | 'helper'
  | 'l3proto'
  | 'src'
  | 'dst'
  | 'proto'
  | 'proto-src'
  | 'proto-dst'
  | 'labels'
  | 'packets'
  | 'bytes'
  | 'avgpkt'
  | 'zone'
  | 'event'
  | 'src-ip'
  | 'dst-ip'
  | 'src-ip6'
  | 'dst-ip6'
  | 'id';

export type CmpOp = 'eq' | 'neq' | 'lt' | 'lte' | 'gt' | 'gte';
export type NatFlag = 'random' | 'fully-random' | 'persistent' | 'netmap';
export type FibFlag = 'saddr' | 'daddr' | 'mark' | 'iif' | 'oif' | 'present';

/** One rule expression; make them with the builders of `expr`. */
export type Expr =
  | { readonly type: 'meta'; readonly key: MetaKey; readonly dreg: Register }
  | { readonly type: 'metaSet'; readonly key: MetaKey; readonly sreg: Register }
  | {
      readonly type: 'payload';
      readonly base: PayloadBase;
      /** Bytes from the start of the header, and count. */
      readonly offset: number;
      readonly len: number;
      readonly dreg: Register;
    }
  | {
      readonly type: 'payloadSet';
      readonly base: PayloadBase;
      readonly offset: number;
      readonly len: number;
      readonly sreg: Register;
      /** 0 none, 1 internet checksum, 2 SCTP. */
      readonly csumType?: number;
      readonly csumOffset?: number;
      /** 1: also the pseudo header of the transport. */
      readonly csumFlags?: number;
    }
  | { readonly type: 'cmp'; readonly op: CmpOp; readonly sreg: Register; readonly data: Uint8Array }
  | {
      readonly type: 'range';
      readonly op: 'eq' | 'neq';
      readonly sreg: Register;
      readonly from: Uint8Array;
      readonly to: Uint8Array;
    }
  | {
      readonly type: 'bitwise';
      readonly sreg: Register;
      readonly dreg: Register;
      /** result = (source & mask) ^ xor; both as long as the value. */
      readonly mask: Uint8Array;
      readonly xor: Uint8Array;
    }
  | {
      readonly type: 'shift';
      readonly sreg: Register;
      readonly dreg: Register;
      readonly len: number;
      readonly direction: 'left' | 'right';
      readonly bits: number;
    }
  | {
      readonly type: 'lookup';
      readonly set: string;
      readonly sreg: Register;
      /** Receives the value of a map; `0` for a verdict map. */
      readonly dreg?: Register;
      readonly invert?: boolean;
    }
  | { readonly type: 'immediate'; readonly dreg: Register; readonly data: Uint8Array }
  | { readonly type: 'verdict'; readonly verdict: Verdict }
  | {
      readonly type: 'nat';
      readonly kind: 'snat' | 'dnat';
      readonly family: 'ip' | 'ip6';
      readonly addrReg?: Register;
      readonly addrMaxReg?: Register;
      readonly portReg?: Register;
      readonly portMaxReg?: Register;
      readonly flags?: readonly NatFlag[];
    }
  | {
      readonly type: 'masquerade';
      readonly flags?: readonly NatFlag[];
      readonly portReg?: Register;
      readonly portMaxReg?: Register;
    }
  | {
      readonly type: 'redirect';
      readonly flags?: readonly NatFlag[];
      readonly portReg?: Register;
      readonly portMaxReg?: Register;
    }
  | { readonly type: 'reject'; readonly with: 'icmp' | 'tcp reset' | 'icmpx'; readonly code: number }
  | {
      readonly type: 'numgen';
      readonly mode: 'random' | 'inc';
      readonly modulus: number;
      readonly offset?: number;
      readonly dreg: Register;
    }
  | {
      readonly type: 'hash';
      readonly mode: 'jhash' | 'symhash';
      readonly dreg: Register;
      readonly modulus: number;
      readonly offset?: number;
      readonly seed?: number;
      /** jhash only: where the hashed bytes are, and how many. */
      readonly sreg?: Register;
      readonly len?: number;
    }
  | {
      readonly type: 'fib';
      readonly result: 'oif' | 'oifname' | 'type';
      readonly flags: readonly FibFlag[];
      readonly dreg: Register;
    }
  | {
      readonly type: 'ct';
      readonly key: CtKey;
      readonly direction?: 'original' | 'reply';
      readonly dreg: Register;
    }
  | { readonly type: 'ctSet'; readonly key: CtKey; readonly direction?: 'original' | 'reply'; readonly sreg: Register }
  | { readonly type: 'counter'; readonly packets?: bigint; readonly bytes?: bigint }
  | {
      readonly type: 'dynset';
      readonly set: string;
      readonly op: 'add' | 'update' | 'delete';
      readonly key: Register;
      readonly data?: Register;
      /** Milliseconds. */
      readonly timeout?: number;
      readonly exprs?: readonly Expr[];
      readonly invert?: boolean;
    }
  | {
      readonly type: 'limit';
      readonly rate: number;
      /** The rate is per this many seconds: 1, 60, 3600, 86400, 604800. */
      readonly per: number;
      readonly burst?: number;
      /** Count bytes instead of packets. */
      readonly bytes?: boolean;
      /** Match when over the limit. */
      readonly over?: boolean;
    }
  | { readonly type: 'connlimit'; readonly count: number; readonly over?: boolean }
  | {
      readonly type: 'log';
      readonly prefix?: string;
      /** nflog group; absent: the kernel log. */
      readonly group?: number;
      readonly snaplen?: number;
      readonly queueThreshold?: number;
      /** syslog level 0..7 (kernel log only). */
      readonly level?: number;
      readonly flags?: number;
    }
  | { readonly type: 'notrack' }
  | {
      readonly type: 'byteorder';
      readonly op: 'ntoh' | 'hton';
      readonly sreg: Register;
      readonly dreg: Register;
      readonly len: number;
      readonly size: 2 | 4 | 8;
    }
  | {
      readonly type: 'queue';
      readonly num: number;
      readonly total?: number;
      readonly bypass?: boolean;
      readonly fanout?: boolean;
    }
  | {
      readonly type: 'tproxy';
      readonly family?: 'ip' | 'ip6';
      readonly addrReg?: Register;
      readonly portReg?: Register;
    }
  | {
      readonly type: 'socket';
      readonly key: 'transparent' | 'mark' | 'wildcard' | 'cgroupv2';
      readonly level?: number;
      readonly dreg: Register;
    }
  | {
      readonly type: 'rt';
      readonly key: 'classid' | 'nexthop4' | 'nexthop6' | 'tcpmss' | 'ipsec';
      readonly dreg: Register;
    }
  | {
      readonly type: 'exthdr';
      readonly op: 'ipv6' | 'tcpopt' | 'ipopt' | 'sctp';
      readonly header: number;
      readonly offset: number;
      readonly len: number;
      readonly present?: boolean;
      readonly dreg?: Register;
      /** Set the field from this register (tcp option MSS clamping). */
      readonly sreg?: Register;
    }
  | { readonly type: 'dup'; readonly addrReg?: Register; readonly devReg?: Register }
  | { readonly type: 'fwd'; readonly devReg: Register; readonly addrReg?: Register; readonly family?: 'ip' | 'ip6' }
  /** An expression this library does not know, as the kernel listed it. */
  | { readonly type: 'unknown'; readonly name: string; readonly data: Uint8Array };

export type PayloadBase = 'link' | 'network' | 'transport' | 'inner';
