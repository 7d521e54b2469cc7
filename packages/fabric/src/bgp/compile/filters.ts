import { type Family, parsePrefix } from '@weft/net';
import type { BGPFilter, BGPFilterRule } from '@weft/kube';
import type { Filter, FilterRule } from '../rib/index.ts';
import { parseCommunity } from './values.ts';
import type { BgpProblem } from './world.ts';

const OPERATORS = ['Equal', 'NotEqual', 'In', 'NotIn'] as const;

/** Whether a peer is in our AS decides about rules that name a kind of peers. */
export interface FilterScope {
  readonly internal: boolean;
}

function operator(rule: BGPFilterRule): (typeof OPERATORS)[number] | undefined {
  return OPERATORS.find((name) => name === rule.matchOperator);
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

function effects(rule: BGPFilterRule): FilterRule['set'] {
  const set: Mutable<NonNullable<FilterRule['set']>> = {};
  const communities: number[] = [];
  for (const { addCommunity, prependASPath } of rule.operations ?? []) {
    const community = addCommunity?.value === undefined ? undefined : parseCommunity(addCommunity.value);
    if (typeof community === 'number') communities.push(community);
    else if (community !== undefined) set.largeCommunities = [...(set.largeCommunities ?? []), community];
    if (prependASPath?.prefix !== undefined) set.prependAs = prependASPath.prefix;
  }
  if (communities.length > 0) set.communities = communities;
  return set;
}

/** A rule as the table understands it, or why it cannot be used. Undefined: it does not concern this peer. */
function readRule(rule: BGPFilterRule, family: Family, scope: FilterScope): FilterRule | string | undefined {
  if (rule.action !== 'Accept' && rule.action !== 'Reject') return `action: "${rule.action}" is not Accept or Reject`;
  const cidr = rule.cidr === undefined ? undefined : parsePrefix(rule.cidr);
  if (rule.cidr !== undefined && cidr?.ip.family !== family) return `cidr: "${rule.cidr}" is not an IPv${family} block`;
  const op = operator(rule);
  if (rule.cidr !== undefined && op === undefined)
    return `matchOperator: "${rule.matchOperator ?? ''}" is not one of ${OPERATORS.join(', ')}`;
  if (rule.interface !== undefined && rule.interface !== '*')
    return `interface: routes are not told apart by interface`;
  if (rule.priority !== undefined || rule.operations?.some((o) => o.setPriority !== undefined) === true)
    return 'priority: routes in the kernel all have one priority';
  if (rule.peerType !== undefined && (rule.peerType === 'iBGP') !== scope.internal) return undefined;
  const communities = (rule.communities?.values ?? []).map(parseCommunity);
  if (communities.some((c) => typeof c !== 'number'))
    return 'communities: only communities of two numbers can be matched';
  const set = effects(rule);
  return {
    action: rule.action,
    family,
    ...(cidr === undefined ? {} : { cidr }),
    ...(op === undefined ? {} : { operator: op }),
    ...(rule.prefixLength === undefined ? {} : { length: rule.prefixLength }),
    ...(rule.source === 'RemotePeers' ? { remoteOnly: true } : {}),
    ...(communities.length === 0 ? {} : { communities: communities as number[] }),
    ...(rule.asPathPrefix === undefined ? {} : { asPathPrefix: rule.asPathPrefix }),
    ...(set === undefined || Object.keys(set).length === 0 ? {} : { set }),
  };
}

/** Import and export rules of the filters that a peer names, in order. Rules that cannot be used are left out and told. */
export function readFilters(
  names: readonly string[],
  filters: ReadonlyMap<string, BGPFilter>,
  scope: FilterScope,
  say: (problem: BgpProblem) => void,
): { readonly import: Filter; readonly export: readonly FilterRule[] } {
  const read = (field: 'import' | 'export'): FilterRule[] =>
    names.flatMap((name) =>
      ([4, 6] as const).flatMap((family) => {
        const key = `${field}V${family}` as const;
        return (filters.get(name)?.spec?.[key] ?? []).flatMap((rule, i) => {
          const found = readRule(rule, family, scope);
          if (typeof found !== 'string') return found === undefined ? [] : [found];
          say({ kind: 'BGPFilter', name, message: `spec.${key}[${i}].${found}` });
          return [];
        });
      }),
    );
  return { import: { rules: read('import'), otherwise: 'Accept' }, export: read('export') };
}
