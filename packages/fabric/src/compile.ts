import { formatPrefix, type Prefix, parsePrefix, prefixContains, prefixesOverlap, subnetAt } from '@weft/net';
import type { Backend, CompileContext, ResolvedConfig, Underlay } from './backend.ts';
import { type FabricPlan, PlanBuilder } from './entries.ts';
import {
  commonFamily,
  type FabricCondition,
  type FabricNode,
  type FabricPool,
  type NodeBlock,
  podPrefixes,
} from './nodes.ts';

/** Metric of the route that catches what no pod of this node has; above anything people choose. */
const LAST_METRIC = 0x7fffffff;
/** Destinations for which a translated source makes no sense. */
const NEVER_TRANSLATED: readonly string[] = ['224.0.0.0/4', 'fe80::/10', 'ff00::/8'];

/** A unit's plan, and what stands in the way of it. */
export interface Compiled {
  readonly plan: FabricPlan;
  readonly conditions: readonly FabricCondition[];
}

const NOTHING: FabricPlan = new Map();

/** The MTU pods get: what fits into the underlay after the backend's headers. Bytes. */
export function podMtu(backend: Backend, config: ResolvedConfig, underlay: Underlay, self: FabricNode): number {
  return config.mtu ?? underlay.mtu - backend.overhead(self);
}

/** The blocks of a list that no other block of it contains, each once. */
function widest(cidrs: readonly string[]): Prefix[] {
  const all = cidrs.map(parsePrefix).filter((p): p is Prefix => p !== undefined);
  return all.filter(
    (p, i) => !all.some((q, j) => prefixesOverlap(p, q) && (q.length < p.length || (q.length === p.length && j < i))),
  );
}

/** A block without the parts that holes cover, as blocks. */
function without(prefix: Prefix, holes: readonly Prefix[]): Prefix[] {
  const inside = holes.filter((hole) => prefixesOverlap(hole, prefix));
  if (inside.some((hole) => hole.length <= prefix.length)) return [];
  if (inside.length === 0) return [prefix];
  return [0, 1].flatMap((half) => without(subnetAt(prefix, prefix.length + 1, half), inside));
}

/** Blocks of pods and of what they reach untranslated, where pools are: no two of them overlap. */
function poolSets(cluster: readonly Prefix[], pools: readonly FabricPool[]): { pods: Prefix[]; direct: Prefix[] } {
  const keep = pools.filter((pool) => !pool.natOutgoing).map((pool) => parsePrefix(pool.cidr));
  const direct = keep.filter((p): p is Prefix => p !== undefined);
  const natted = pools.filter((pool) => pool.natOutgoing).map((pool) => pool.cidr);
  const pods = widest([...cluster.map(formatPrefix), ...natted]).flatMap((prefix) => without(prefix, direct));
  return { pods, direct };
}

/** The node's blocks that are blocks, with their prefixes. */
function blocksOf(node: FabricNode): readonly (NodeBlock & { readonly prefix: Prefix })[] {
  return (node.blocks ?? []).flatMap((block) => {
    const prefix = parsePrefix(block.cidr);
    return prefix === undefined ? [] : [{ ...block, prefix }];
  });
}

/** Says which pod CIDRs of a node reach beyond a block of the cluster: pods outside of it are not known as pods. */
function sayWide(node: FabricNode, config: ResolvedConfig, conditions: FabricCondition[]): void {
  const cluster = widest(config.podCidrs);
  for (const prefix of podPrefixes(node).prefixes) {
    const inner = cluster.find((c) => c.length > prefix.length && prefixContains(prefix, c.ip));
    if (inner === undefined) continue;
    const message = `spec.podCIDRs: ${formatPrefix(prefix)} reaches beyond the cluster's ${formatPrefix(inner)}`;
    conditions.push({ node: node.name, reason: 'InvalidPodCIDR', message });
  }
}

/** Adds the blocks whose addresses keep their source: pods' in `pods`, nodes' and others in `direct`. */
function addMasqueradeSets(
  plan: PlanBuilder,
  config: ResolvedConfig,
  node: FabricNode,
  isSelf: boolean,
  pools: readonly FabricPool[],
): void {
  if (!config.masquerade) return;
  const covered = poolSets(widest(config.podCidrs), pools);
  const cluster = [...covered.pods, ...covered.direct];
  // The kernel takes no two ranges that overlap; a block that reaches beyond the cluster's is named in the conditions.
  const own = podPrefixes(node).prefixes.filter((p) => !cluster.some((c) => prefixesOverlap(c, p)));
  const more = covered.direct.map(formatPrefix);
  const direct = isSelf ? widest([...NEVER_TRANSLATED, ...config.nonMasqueradeCidrs, ...more]) : [];
  for (const prefix of isSelf ? [...covered.pods, ...own] : own) {
    plan.add({ type: 'masquerade-set', set: 'pods', cidr: formatPrefix(prefix) }, 'spec.podCIDRs');
  }
  for (const prefix of direct) {
    plan.add({ type: 'masquerade-set', set: 'direct', cidr: formatPrefix(prefix) }, '');
  }
  for (const [family, ip] of Object.entries(node.ip)) {
    const inside = [...config.nonMasqueradeCidrs, ...more].some((text) => {
      const prefix = parsePrefix(text);
      const address = parsePrefix(`${ip}/${family === '4' ? 32 : 128}`);
      return prefix !== undefined && address !== undefined && prefixContains(prefix, address.ip);
    });
    const cidr = `${ip}/${family === '4' ? 32 : 128}`;
    if (!inside) plan.add({ type: 'masquerade-set', set: 'direct', cidr }, 'status.addresses');
  }
}

/** What this node needs for itself (pure). With a conflict it does without the pod CIDRs that an older node claims. */
export function compileSelf(backend: Backend, whole: CompileContext, conflict: FabricCondition | undefined): Compiled {
  const context = conflict === undefined ? whole : { ...whole, self: { ...whole.self, podCidrs: [] } };
  const { self, config } = context;
  const plan = new PlanBuilder(self.name);
  const conditions: FabricCondition[] = conflict === undefined ? [] : [conflict];
  const { prefixes, invalid } = podPrefixes(self);
  const say = (reason: FabricCondition['reason'], message: string): void => {
    conditions.push({ node: self.name, reason, message });
  };
  for (const text of invalid) say('InvalidPodCIDR', `spec.podCIDRs: "${text}" is not a CIDR block`);
  if (whole.self.podCidrs.length + (self.blocks?.length ?? 0) === 0) say('NoPodCIDR', 'the node has no pod CIDR yet');
  if (self.ip[4] === undefined && self.ip[6] === undefined) say('NoInternalIP', 'the node has no InternalIP yet');
  backend.compileSelf(context, plan);
  for (const prefix of prefixes) {
    // Else a packet for a pod that is gone would leave by the default route, come back, and leave again.
    const dst = formatPrefix(prefix);
    plan.add({ type: 'route', kind: 'unreachable', dst, metric: LAST_METRIC }, 'spec.podCIDRs');
  }
  for (const { prefix, kind, name } of blocksOf(self)) {
    const dst = formatPrefix(prefix);
    plan.addFor({ type: 'route', kind: 'unreachable', dst, metric: LAST_METRIC }, { kind, name, field: 'spec' });
  }
  sayWide(self, config, conditions);
  if (config.masquerade) plan.add({ type: 'masquerade' }, '');
  addMasqueradeSets(plan, config, self, true, context.pools ?? []);
  return { plan: plan.build(), conditions };
}

/** What leads to a peer (pure). `conflict` is the older node's claim that stands in the way, if one does. */
export function compilePeer(
  backend: Backend,
  context: CompileContext,
  node: FabricNode,
  conflict: FabricCondition | undefined,
): Compiled {
  if (conflict !== undefined) return { plan: NOTHING, conditions: [conflict] };
  const plan = new PlanBuilder(node.name);
  const conditions: FabricCondition[] = [];
  const say = (reason: FabricCondition['reason'], message: string): void => {
    conditions.push({ node: node.name, reason, message });
  };
  const { prefixes, invalid } = podPrefixes(node);
  for (const text of invalid) say('InvalidPodCIDR', `spec.podCIDRs: "${text}" is not a CIDR block`);
  sayWide(node, context.config, conditions);
  const family = commonFamily(context.self, node);
  addMasqueradeSets(plan, context.config, node, false, context.pools ?? []);
  const blocks = blocksOf(node);
  if (prefixes.length === 0 && blocks.length === 0) {
    if (invalid.length === 0) say('NoPodCIDR', 'the node has no pod CIDR yet');
  } else if (family === undefined) {
    const none = node.ip[4] === undefined && node.ip[6] === undefined;
    if (none) say('NoInternalIP', 'the node has no InternalIP yet');
    else say('FamilyMismatch', `no common address family with node ${context.self.name}`);
  } else {
    const peer = { node, family, ip: node.ip[family] as string, prefixes, blocks };
    const condition = backend.compilePeer(context, peer, plan);
    if (condition !== undefined) conditions.push(condition);
  }
  return { plan: plan.build(), conditions };
}
