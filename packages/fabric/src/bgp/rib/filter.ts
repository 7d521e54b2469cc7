import { type Family, parsePrefix, type Prefix, prefixContains } from '@weft/net';
import type { LargeCommunity, PathAttributes } from '../codec/index.ts';

/** How a rule compares a route's prefix with its CIDR (the words are those of Calico's BGPFilter). */
type MatchOperator = 'Equal' | 'NotEqual' | 'In' | 'NotIn';

export interface FilterRule {
  readonly action: 'Accept' | 'Reject';
  /** Absent: rules for both families. */
  readonly family?: Family;
  readonly cidr?: Prefix;
  readonly operator?: MatchOperator;
  /** Bounds of the prefix length, both included. */
  readonly length?: { readonly min?: number; readonly max?: number };
  /** Only routes that peers sent. */
  readonly remoteOnly?: boolean;
  /** All of them must be on the route. */
  readonly communities?: readonly number[];
  /** The path must begin with these ASes. */
  readonly asPathPrefix?: readonly number[];
  /** What is done to a route that is accepted. */
  readonly set?: {
    readonly communities?: readonly number[];
    readonly largeCommunities?: readonly LargeCommunity[];
    readonly localPref?: number;
    readonly prependAs?: readonly number[];
  };
  /** Goes on with the rules that follow when it matches; `set` then adds up. */
  readonly proceed?: boolean;
}

/** Rules in order; the first that matches decides, else `otherwise`. */
export interface Filter {
  readonly rules: readonly FilterRule[];
  readonly otherwise: 'Accept' | 'Reject';
}

export const ACCEPT_ALL: Filter = { rules: [], otherwise: 'Accept' };

/** What a filter looks at. */
export interface FilterInput {
  readonly prefix: string;
  readonly attributes: PathAttributes;
  /** A peer sent it. */
  readonly remote: boolean;
}

function matchesCidr(rule: FilterRule, prefix: Prefix): boolean {
  const { cidr, operator = 'Equal' } = rule;
  if (cidr === undefined) return true;
  if (cidr.ip.family !== prefix.ip.family) return false;
  const inside = cidr.length <= prefix.length && prefixContains(cidr, prefix.ip);
  const equal = inside && cidr.length === prefix.length;
  switch (operator) {
    case 'Equal':
      return equal;
    case 'NotEqual':
      return !equal;
    case 'In':
      return inside;
    case 'NotIn':
      return !inside;
  }
}

function matches(rule: FilterRule, input: FilterInput, prefix: Prefix): boolean {
  const { family, length, remoteOnly, communities, asPathPrefix } = rule;
  if (family !== undefined && family !== prefix.ip.family) return false;
  if (!matchesCidr(rule, prefix)) return false;
  if (length?.min !== undefined && prefix.length < length.min) return false;
  if (length?.max !== undefined && prefix.length > length.max) return false;
  if (remoteOnly === true && !input.remote) return false;
  const { attributes } = input;
  if (communities?.some((c) => attributes.communities?.includes(c) !== true) === true) return false;
  if (asPathPrefix === undefined) return true;
  const path = attributes.asPath.flatMap((segment) => segment.ases);
  return asPathPrefix.every((as, i) => path[i] === as);
}

function changed(attributes: PathAttributes, set: NonNullable<FilterRule['set']>): PathAttributes {
  const { communities, largeCommunities, localPref, prependAs } = set;
  return {
    ...attributes,
    ...(communities === undefined
      ? {}
      : { communities: [...new Set([...(attributes.communities ?? []), ...communities])] }),
    ...(largeCommunities === undefined
      ? {}
      : { largeCommunities: [...(attributes.largeCommunities ?? []), ...largeCommunities] }),
    ...(localPref === undefined ? {} : { localPref }),
    ...(prependAs === undefined
      ? {}
      : { asPath: [{ kind: 'sequence' as const, ases: prependAs }, ...attributes.asPath] }),
  };
}

/** Attributes of a route after a filter; undefined when it is rejected. Pure. */
export function applyFilter(filter: Filter, input: FilterInput): PathAttributes | undefined {
  let { attributes } = input;
  const prefix = filter.rules.length === 0 ? undefined : parsePrefix(input.prefix);
  if (prefix !== undefined) {
    for (const rule of filter.rules) {
      if (!matches(rule, { ...input, attributes }, prefix)) continue;
      if (rule.action === 'Reject') return undefined;
      if (rule.set !== undefined) attributes = changed(attributes, rule.set);
      if (rule.proceed !== true) return attributes;
    }
  }
  return filter.otherwise === 'Accept' ? attributes : undefined;
}
