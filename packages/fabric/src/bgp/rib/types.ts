import type { Family } from '@weft/net';
import type { Provenance } from '@weft/plan';
import type { PathAttributes } from '../codec/index.ts';
import type { Filter } from './filter.ts';

/** What the table of routes needs to know of a peer. */
export interface RibPeer {
  readonly name: string;
  /** Its address. */
  readonly address: string;
  readonly as: number;
  /** Our AS towards it, when that is another one. */
  readonly localAs?: number;
  /** It is in our AS. */
  readonly internal: boolean;
  /** Undefined before its session is up. */
  readonly routerId?: string;
  /** We are its route reflector (RFC 4456). */
  readonly client: boolean;
  /** How often our own AS may be in the paths that it sends. */
  readonly allowOwnAs: number;
  /** Routes that it may send at most. */
  readonly maxPrefixes: number;
  /** Our address on the session per family: the next hop of what we announce. */
  readonly localAddress: { readonly 4?: string; readonly 6?: string };
  readonly nextHop: 'auto' | 'self' | 'keep';
  readonly import: Filter;
  readonly export: Filter;
}

/** Who we are. */
export interface RibSelf {
  readonly as: number;
  readonly routerId: string;
  /** Set when this speaker reflects routes. */
  readonly clusterId?: string;
}

/** A route as a peer sent it, or one of our own. */
export interface RibRoute {
  readonly prefix: string;
  readonly family: Family;
  /** Undefined for our own: the peers are given our address. */
  readonly nextHop?: string;
  readonly attributes: PathAttributes;
  /** Name of the peer; undefined for our own. */
  readonly peer?: string;
  /** Why we have it. */
  readonly cause?: Provenance;
  /** Why it is not used; it may be when the configuration changes. */
  readonly rejected?: string;
  /** Kept through a restart of its peer; not confirmed yet. */
  readonly stale?: true;
}
