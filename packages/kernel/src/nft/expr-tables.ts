import type { CmpOp, CtKey, FibFlag, MetaKey, NatFlag, PayloadBase } from './expr-types.ts';

/** Names in the order of the kernel's enumerations. */
export const META_KEYS: readonly MetaKey[] = [
  'len',
  'protocol',
  'priority',
  'mark',
  'iif',
  'oif',
  'iifname',
  'oifname',
  'iiftype',
  'oiftype',
  'skuid',
  'skgid',
  'nftrace',
  'rtclassid',
  'secmark',
  'nfproto',
  'l4proto',
  'ibrname',
  'obrname',
  'pkttype',
  'cpu',
  'iifgroup',
  'oifgroup',
  'cgroup',
  'random',
  'secpath',
  'iifkind',
  'oifkind',
  'ibrpvid',
  'ibrvproto',
  'time',
  'day',
  'hour',
  'sdif',
  'sdifname',
];

export const CT_KEYS: readonly CtKey[] = [
  'state',
  'direction',
  'status',
  'mark',
  'secmark',
  'expiration',
  'helper',
  'l3proto',
  'src',
  'dst',
  'proto',
  'proto-src',
  'proto-dst',
  'labels',
  'packets',
  'bytes',
  'avgpkt',
  'zone',
  'event',
  'src-ip',
  'dst-ip',
  'src-ip6',
  'dst-ip6',
  'id',
];

export const CMP_OPS: readonly CmpOp[] = ['eq', 'neq', 'lt', 'lte', 'gt', 'gte'];
export const BASES: readonly PayloadBase[] = ['link', 'network', 'transport', 'inner'];
export const FIB_FLAGS: readonly FibFlag[] = ['saddr', 'daddr', 'mark', 'iif', 'oif', 'present'];
export const FIB_RESULTS = ['', 'oif', 'oifname', 'type'] as const;
export const DYNSET_OPS = ['add', 'update', 'delete'] as const;
export const REJECTS = ['icmp', 'tcp reset', 'icmpx'] as const;
export const SOCKET_KEYS = ['transparent', 'mark', 'wildcard', 'cgroupv2'] as const;
export const RT_KEYS = ['classid', 'nexthop4', 'nexthop6', 'tcpmss', 'ipsec'] as const;
export const EXTHDR_OPS = ['ipv6', 'tcpopt', 'ipopt', 'sctp'] as const;

/** NF_NAT_RANGE_* bits that can be asked; the kernel adds MAP_IPS (1) and PROTO_SPECIFIED (2) itself. */
export const NAT_FLAGS: Record<NatFlag, number> = { random: 4, persistent: 8, 'fully-random': 16, netmap: 64 };

export function natBits(flags: readonly NatFlag[] | undefined): number {
  return (flags ?? []).reduce((bits, name) => bits | NAT_FLAGS[name], 0);
}

export function natNames(bits: number): NatFlag[] {
  return (Object.keys(NAT_FLAGS) as NatFlag[]).filter((name) => (bits & NAT_FLAGS[name]) !== 0);
}

export function fibBits(flags: readonly FibFlag[]): number {
  return flags.reduce((bits, name) => bits | (1 << FIB_FLAGS.indexOf(name)), 0);
}
