import type { Family } from '@weft/net';

/** Bytes of the fixed header, and of the largest message without the extended-message capability (RFC 4271 §4.1). */
export const HEADER_BYTES = 19;
export const MAX_MESSAGE_BYTES = 4096;
/** Stands for an AS number that does not fit in two bytes (RFC 6793). */
export const AS_TRANS = 23456;

/** What a speaker says of a restart (RFC 4724). */
export interface GracefulRestart {
  /** It has restarted and kept its forwarding state as far as `families` says. */
  readonly restarting: boolean;
  /** Seconds within which it means to be back, 0..4095. */
  readonly time: number;
  readonly families: readonly { readonly family: Family; readonly forwarding: boolean }[];
}

export interface Capabilities {
  /** Families of unicast routes (RFC 4760). */
  readonly families: readonly Family[];
  /** The speaker's AS number when it understands four octets (RFC 6793). */
  readonly as4?: number;
  readonly routeRefresh: boolean;
  readonly gracefulRestart?: GracefulRestart;
  /** Codes of capabilities that are not understood. */
  readonly unknown?: readonly number[];
}

export interface OpenMessage {
  readonly type: 'open';
  /** AS number, that of the four-octet capability where there is one. */
  readonly as: number;
  /** Seconds; 0: no keepalives. */
  readonly holdTime: number;
  /** BGP identifier, as an IPv4 address. */
  readonly routerId: string;
  readonly capabilities: Capabilities;
}

export interface NotificationMessage {
  readonly type: 'notification';
  readonly code: number;
  readonly subcode: number;
  readonly data: Uint8Array;
}

export interface KeepaliveMessage {
  readonly type: 'keepalive';
}

export interface RouteRefreshMessage {
  readonly type: 'route-refresh';
  /** Undefined for a family that is not ours. */
  readonly family: Family | undefined;
}

type Origin = 'igp' | 'egp' | 'incomplete';

/** A part of an AS path: in order, or an unordered set (RFC 4271 §4.3). */
export interface AsSegment {
  readonly kind: 'sequence' | 'set';
  readonly ases: readonly number[];
}

/** A large community (RFC 8092): three 32-bit numbers. */
export type LargeCommunity = readonly [global: number, local1: number, local2: number];

/** Path attributes; the next hop of IPv4 routes is among them, that of others is with their prefixes. */
export interface PathAttributes {
  readonly origin: Origin;
  readonly asPath: readonly AsSegment[];
  readonly nextHop?: string;
  readonly med?: number;
  readonly localPref?: number;
  readonly atomicAggregate?: true;
  readonly aggregator?: { readonly as: number; readonly routerId: string };
  /** RFC 1997, each as one 32-bit number. */
  readonly communities?: readonly number[];
  readonly largeCommunities?: readonly LargeCommunity[];
  /** RFC 4456. */
  readonly originatorId?: string;
  readonly clusterList?: readonly string[];
  /** Optional transitive attributes that are not understood: passed on as they came. */
  readonly unknown?: readonly { readonly type: number; readonly value: Uint8Array }[];
}

/** Prefixes of one family with their next hop (MP_REACH_NLRI, or the IPv4 fields of an UPDATE). */
export interface Reach {
  readonly family: Family;
  readonly nextHop: string;
  readonly prefixes: readonly string[];
}

export interface Unreach {
  readonly family: Family;
  readonly prefixes: readonly string[];
}

export interface UpdateMessage {
  readonly type: 'update';
  readonly reach: readonly Reach[];
  readonly unreach: readonly Unreach[];
  /** There whenever something in `reach` is. */
  readonly attributes?: PathAttributes;
  /** The family whose routes have all been sent (RFC 4724 §2). */
  readonly endOfRib?: Family;
  /** What was wrong without ending the session (RFC 7606): prefixes were taken as withdrawn, or attributes left out. */
  readonly faults: readonly string[];
}

export type BgpMessage = OpenMessage | UpdateMessage | NotificationMessage | KeepaliveMessage | RouteRefreshMessage;
