import type { DataType, HookName, NftFamily } from './types.ts';

/** Subsystem number, the high byte of every nf_tables message type. */
export const NFNL_SUBSYS_NFTABLES = 10;
export const NFNL_MSG_BATCH_BEGIN = 0x10;
export const NFNL_MSG_BATCH_END = 0x11;

const type = (message: number): number => (NFNL_SUBSYS_NFTABLES << 8) | message;

export const NFT_MSG = {
  NEWTABLE: type(0),
  GETTABLE: type(1),
  DELTABLE: type(2),
  NEWCHAIN: type(3),
  GETCHAIN: type(4),
  DELCHAIN: type(5),
  NEWRULE: type(6),
  GETRULE: type(7),
  DELRULE: type(8),
  NEWSET: type(9),
  GETSET: type(10),
  DELSET: type(11),
  NEWSETELEM: type(12),
  GETSETELEM: type(13),
  DELSETELEM: type(14),
  NEWGEN: type(15),
  GETGEN: type(16),
} as const;

/** NFPROTO_* of each family. */
export const FAMILIES: Record<NftFamily, number> = { inet: 1, ip: 2, arp: 3, netdev: 5, bridge: 7, ip6: 10 };

export function familyName(value: number): NftFamily | undefined {
  return (Object.keys(FAMILIES) as NftFamily[]).find((name) => FAMILIES[name] === value);
}

const INET_HOOKS: Partial<Record<HookName, number>> = {
  prerouting: 0,
  input: 1,
  forward: 2,
  output: 3,
  postrouting: 4,
  ingress: 5,
};
const NETDEV_HOOKS: Partial<Record<HookName, number>> = { ingress: 0, egress: 1 };
const ARP_HOOKS: Partial<Record<HookName, number>> = { input: 0, output: 1, forward: 2 };

/** Hook numbers of a family. */
export function hooksOf(family: NftFamily): Partial<Record<HookName, number>> {
  return family === 'netdev' ? NETDEV_HOOKS : family === 'arp' ? ARP_HOOKS : INET_HOOKS;
}

/** How a data type is stored: the number `nft` knows it by, its size in bytes, its byte order. */
export interface TypeInfo {
  readonly id: number;
  readonly size: number;
  readonly order: 'host' | 'network';
}

export const TYPES: Record<DataType, TypeInfo> = {
  nf_proto: { id: 2, size: 1, order: 'host' },
  integer: { id: 4, size: 4, order: 'host' },
  ipv4_addr: { id: 7, size: 4, order: 'network' },
  ipv6_addr: { id: 8, size: 16, order: 'network' },
  ether_addr: { id: 9, size: 6, order: 'network' },
  ether_type: { id: 10, size: 2, order: 'network' },
  inet_proto: { id: 12, size: 1, order: 'network' },
  inet_service: { id: 13, size: 2, order: 'network' },
  icmp_type: { id: 14, size: 1, order: 'network' },
  tcp_flag: { id: 15, size: 1, order: 'host' },
  mark: { id: 19, size: 4, order: 'host' },
  iface_index: { id: 20, size: 4, order: 'host' },
  realm: { id: 22, size: 4, order: 'host' },
  classid: { id: 23, size: 4, order: 'host' },
  uid: { id: 24, size: 4, order: 'host' },
  gid: { id: 25, size: 4, order: 'host' },
  ct_state: { id: 26, size: 4, order: 'host' },
  ct_dir: { id: 27, size: 1, order: 'host' },
  ct_status: { id: 28, size: 4, order: 'host' },
  icmpv6_type: { id: 29, size: 1, order: 'network' },
  pkt_type: { id: 31, size: 1, order: 'host' },
  devgroup: { id: 35, size: 4, order: 'host' },
  dscp: { id: 36, size: 1, order: 'network' },
  fib_addrtype: { id: 38, size: 4, order: 'host' },
  boolean: { id: 39, size: 1, order: 'host' },
  ifname: { id: 41, size: 16, order: 'host' },
};

/** Bits of one type in the number of a concatenation. */
const CONCAT_BITS = 6;
/** Type number of a verdict map's data. */
export const NFT_DATA_VERDICT = 0xffffff00;

const BY_ID = new Map((Object.keys(TYPES) as DataType[]).map((name) => [TYPES[name].id, name]));

export function typeList(t: DataType | readonly DataType[]): readonly DataType[] {
  return typeof t === 'string' ? [t] : t;
}

/** The number of a type or concatenation. */
export function typeNumber(t: DataType | readonly DataType[]): number {
  // Unsigned arithmetic: five fields fill 30 bits.
  return typeList(t).reduce((sum, name) => ((sum << CONCAT_BITS) | TYPES[name].id) >>> 0, 0);
}

/** Bytes of a value in registers: fields of a concatenation are padded, a single value is not. */
export function typeLength(t: DataType | readonly DataType[]): number {
  const list = typeList(t);
  if (list.length === 1) return TYPES[list[0] as DataType].size;
  return list.reduce((sum, name) => sum + ((TYPES[name].size + 3) & ~3), 0);
}

/** The type behind a number; `integer` for one that is not known. */
export function typeOfNumber(value: number): DataType | DataType[] {
  const list: DataType[] = [];
  for (let v = value; v > 0; v = Math.floor(v / (1 << CONCAT_BITS)))
    list.unshift(BY_ID.get(v % (1 << CONCAT_BITS)) ?? 'integer');
  return list.length === 1 ? (list[0] as DataType) : list.length === 0 ? 'integer' : list;
}

export const SET_FLAG = {
  ANONYMOUS: 1,
  CONSTANT: 2,
  INTERVAL: 4,
  MAP: 8,
  TIMEOUT: 0x10,
  EVAL: 0x20,
  CONCAT: 0x80,
  EXPR: 0x100,
} as const;

/** Element that closes a range of a single-field interval set. */
export const ELEM_INTERVAL_END = 1;
