import type { Family } from '@weft/net';
import type { Provenance } from '@weft/plan';
import type { Filter, RibRoute } from '../rib/index.ts';

/** How one peer is to be spoken to. */
export interface PeerConfig {
  /** Unique; shown in logs, status and metrics. */
  readonly name: string;
  /** The object that asks for it. */
  readonly cause: Provenance;
  readonly address: string;
  /** TCP port to connect to. */
  readonly port: number;
  readonly as: number;
  /** Our AS towards this peer. */
  readonly localAs: number;
  /** Address to connect from; the kernel's choice when absent. */
  readonly source?: string;
  /** Our addresses, the next hop of what we announce. */
  readonly localAddress: { readonly 4?: string; readonly 6?: string };
  readonly families: readonly Family[];
  /** TCP MD5 (RFC 2385). */
  readonly password?: string;
  readonly passive: boolean;
  /** Seconds. */
  readonly holdTime: number;
  readonly connectRetry: number;
  /** Seconds; undefined: no graceful restart. */
  readonly restartTime?: number;
  /** Hops that the peer may be away: others' packets are refused (RFC 5082). */
  readonly ttlSecurity?: number;
  readonly client: boolean;
  readonly nextHop: 'auto' | 'self' | 'keep';
  readonly allowOwnAs: number;
  readonly maxPrefixes: number;
  readonly import: Filter;
  readonly export: Filter;
}

/** All that a speaker is told. */
export interface SpeakerConfig {
  readonly as: number;
  readonly routerId: string;
  readonly clusterId?: string;
  readonly port: number;
  /** Addresses to listen on; all when absent. */
  readonly listen?: readonly string[];
  readonly peers: readonly PeerConfig[];
  /** Our own routes. */
  readonly routes: readonly RibRoute[];
}

export const BGP_PORT = 179;
/** Seconds. Calico's BIRD proposes 240; a third of a minute between keepalives notices a dead node sooner. */
export const DEFAULT_HOLD_TIME = 90;
export const DEFAULT_CONNECT_RETRY = 5;
/** Seconds. */
export const DEFAULT_RESTART_TIME = 120;
export const DEFAULT_MAX_PREFIXES = 500_000;
