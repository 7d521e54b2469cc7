/** Where a qdisc or class hangs: `root`, `ingress`, or a handle such as `1:` or `1:30` (hexadecimal, as tc writes them). */
export type TcParent = string;

/** Token bucket filter (tc-tbf(8)). */
export interface TbfOptions {
  /** Bytes a second. */
  readonly rate: number;
  /** Bytes that may go at once. */
  readonly burst: number;
  /** Bytes that may wait. */
  readonly limit: number;
}

/** Hierarchical token bucket (tc-htb(8)). */
export interface HtbOptions {
  /** Minor number of the class for what no filter takes. */
  readonly defaultClass?: number;
}

/** Class of an HTB qdisc. */
export interface HtbClassOptions {
  /** Bytes a second that are assured. */
  readonly rate: number;
  /** Bytes a second at most, borrowed from the parent; default: the rate. */
  readonly ceil?: number;
  /** Bytes that may go at once. Default: what the rate sends in a millisecond, and at least one large frame. */
  readonly burst?: number;
}

export interface QdiscSpec {
  /** Interface index. */
  readonly index: number;
  /** Default `root`. */
  readonly parent?: TcParent;
  /** `1:`; the kernel chooses one when it is absent. */
  readonly handle?: string;
  /** `tbf`, `htb`, `ingress`, `clsact`, `pfifo`, … Kinds without options here get the kernel's defaults. */
  readonly kind: string;
  readonly tbf?: TbfOptions;
  readonly htb?: HtbOptions;
}

/** A qdisc as the kernel lists it. */
export interface Qdisc {
  readonly index: number;
  readonly parent: TcParent;
  readonly handle: string;
  readonly kind: string;
  /** `burst` is worked out of `buffer`, and so inexact by the length of a tick. */
  readonly tbf?: TbfOptions & {
    /** The burst as the kernel keeps it: ticks that it takes at the rate. */
    readonly buffer: number;
  };
  readonly htb?: HtbOptions;
}

export interface TcClassSpec {
  readonly index: number;
  /** Its qdisc or class: `1:`. */
  readonly parent: TcParent;
  /** `1:30`. */
  readonly handle: string;
  readonly kind: 'htb';
  readonly htb: HtbClassOptions;
}

/** A class as the kernel lists it. */
export interface TcClass {
  readonly index: number;
  readonly parent: TcParent;
  readonly handle: string;
  readonly kind: string;
  readonly htb?: Required<HtbClassOptions>;
}

/** One 32-bit comparison of u32: the word at `offset` of the network header, under a mask. */
export interface U32Key {
  readonly value: number;
  readonly mask: number;
  /** Bytes from the start of the network header, a multiple of 4. */
  readonly offset: number;
}

export interface FilterSpec {
  readonly index: number;
  /** The qdisc it hangs from: `1:`, or `ffff:` for that of `ingress`. */
  readonly parent: TcParent;
  /** Lower ones are asked first. Default 1. */
  readonly priority?: number;
  /** EtherType; default all. */
  readonly protocol?: 'all' | 'ip' | 'ipv6';
  /** `u32` compares words; without keys it takes everything, as `matchall` does. */
  readonly kind: 'u32' | 'matchall';
  readonly keys?: readonly U32Key[];
  /** Class for what it takes: `1:30`. */
  readonly classId?: string;
  /** What it takes leaves by this interface (index) instead (mirred egress redirect). */
  readonly redirect?: number;
}

/** A filter as the kernel lists it. */
export interface Filter {
  readonly index: number;
  readonly parent: TcParent;
  readonly priority: number;
  /** EtherType. */
  readonly protocol: number;
  readonly kind: string;
  readonly keys?: readonly U32Key[];
  readonly classId?: string;
  readonly redirect?: number;
}
