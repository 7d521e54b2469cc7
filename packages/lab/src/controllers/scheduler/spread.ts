import {
  type LabelSelector,
  matchLabelSelector,
  type Pod,
  type PodAffinityTerm,
  type TopologySpreadConstraint,
} from '@weft/kube';
import { matchesNode, untolerated } from '../common/node-match.ts';
import { type ClusterState, type NodeState, type PlacedPod, requiredAntiAffinity } from './model.ts';

/** Pods that a constraint counts, per value of its topology key. */
interface Counts {
  readonly perDomain: ReadonlyMap<string, number>;
  readonly fewest: number;
}

/** Why a node does not fit, in the words of kube-scheduler; undefined when it does. */
export type NodeCheck = (state: NodeState) => string | undefined;

const SPREAD = "node(s) didn't match pod topology spread constraints";

/** The check of `topologySpreadConstraints` that must hold (KEP-895). */
export function spreadCheck(pod: Pod, nodes: readonly NodeState[]): NodeCheck | undefined {
  const hard = (pod.spec.topologySpreadConstraints ?? []).filter((c) => c.whenUnsatisfiable === 'DoNotSchedule');
  if (hard.length === 0) return undefined;
  const counted = hard.map((constraint) => ({ constraint, counts: countDomains(pod, constraint, nodes) }));
  return (state) => {
    for (const { constraint, counts } of counted) {
      const domain = state.node.metadata.labels?.[constraint.topologyKey];
      if (domain === undefined) return `${SPREAD} (missing required label)`;
      const self = matchLabelSelector(selectorOf(pod, constraint), pod.metadata.labels) ? 1 : 0;
      if ((counts.perDomain.get(domain) ?? 0) + self - counts.fewest > constraint.maxSkew) return SPREAD;
    }
    return undefined;
  };
}

/** How uneven the node would make things, for constraints that are wishes only. Lower is better. */
export function spreadScore(pod: Pod, nodes: readonly NodeState[]): ((state: NodeState) => number) | undefined {
  const soft = (pod.spec.topologySpreadConstraints ?? []).filter((c) => c.whenUnsatisfiable === 'ScheduleAnyway');
  if (soft.length === 0) return undefined;
  const counted = soft.map((constraint) => ({ constraint, counts: countDomains(pod, constraint, nodes) }));
  return (state) =>
    counted.reduce((score, { constraint, counts }) => {
      const domain = state.node.metadata.labels?.[constraint.topologyKey];
      return score + (domain === undefined ? nodes.length : (counts.perDomain.get(domain) ?? 0) - counts.fewest);
    }, 0);
}

function countDomains(pod: Pod, constraint: TopologySpreadConstraint, nodes: readonly NodeState[]): Counts {
  const selector = selectorOf(pod, constraint);
  const perDomain = new Map<string, number>();
  for (const state of nodes) {
    const domain = state.node.metadata.labels?.[constraint.topologyKey];
    if (domain === undefined) continue;
    if (constraint.nodeAffinityPolicy !== 'Ignore' && !matchesNode(pod.spec, state.node)) continue;
    if (constraint.nodeTaintsPolicy === 'Honor' && untolerated(state.node.spec?.taints, pod.spec.tolerations)) continue;
    let count = perDomain.get(domain) ?? 0;
    for (const placed of state.pods.values()) {
      if (placed.namespace !== pod.metadata.namespace || placed.pod.metadata.deletionTimestamp !== undefined) continue;
      if (matchLabelSelector(selector, placed.labels)) count++;
    }
    perDomain.set(domain, count);
  }
  const enough = perDomain.size >= (constraint.minDomains ?? 1);
  return { perDomain, fewest: enough && perDomain.size > 0 ? Math.min(...perDomain.values()) : 0 };
}

function selectorOf(pod: Pod, constraint: TopologySpreadConstraint): LabelSelector | undefined {
  const { labelSelector, matchLabelKeys = [] } = constraint;
  if (labelSelector === undefined || matchLabelKeys.length === 0) return labelSelector;
  const extra = matchLabelKeys.flatMap((key) => {
    const value = pod.metadata.labels?.[key];
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...labelSelector, matchLabels: { ...labelSelector.matchLabels, ...Object.fromEntries(extra) } };
}

/** The check of required pod affinity and anti-affinity, the anti-affinity of pods that run already included. */
export function podAffinityCheck(pod: Pod, nodes: readonly NodeState[], state: ClusterState): NodeCheck | undefined {
  const affinity = pod.spec.affinity?.podAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
  const anti = requiredAntiAffinity(pod);
  /** Topologies that a running pod keeps this one out of. */
  const closed = new Set<string>();
  for (const placed of state.guarded) {
    const labels = state.nodes.get(placed.node)?.node.metadata.labels;
    for (const term of requiredAntiAffinity(placed.pod)) {
      const domain = labels?.[term.topologyKey];
      if (domain === undefined || !selects(term, placed.namespace, pod.metadata.namespace ?? '', pod.metadata.labels)) {
        continue;
      }
      closed.add(`${term.topologyKey}=${domain}`);
    }
  }
  if (affinity.length === 0 && anti.length === 0 && closed.size === 0) return undefined;
  const own = pod.metadata.namespace ?? '';
  const domains = (term: PodAffinityTerm): Set<string> => {
    const found = new Set<string>();
    for (const state of nodes) {
      const domain = state.node.metadata.labels?.[term.topologyKey];
      if (domain === undefined || found.has(domain)) continue;
      if ([...state.pods.values()].some((p: PlacedPod) => selects(term, own, p.namespace, p.labels))) found.add(domain);
    }
    return found;
  };
  const wanted = affinity.map((term) => ({ term, found: domains(term) }));
  const unwanted = anti.map((term) => ({ term, found: domains(term) }));
  // The first pod of a group that wants to be with itself may go anywhere.
  const first = wanted.every(({ term, found }) => found.size === 0 && selects(term, own, own, pod.metadata.labels));
  return ({ node }) => {
    const labels = node.metadata.labels ?? {};
    for (const { term, found } of wanted) {
      const domain = labels[term.topologyKey];
      if (domain === undefined || (!first && !found.has(domain))) return "node(s) didn't match pod affinity rules";
    }
    for (const { term, found } of unwanted) {
      const domain = labels[term.topologyKey];
      if (domain !== undefined && found.has(domain)) return "node(s) didn't match pod anti-affinity rules";
    }
    for (const entry of closed) {
      const at = entry.indexOf('=');
      if (labels[entry.slice(0, at)] === entry.slice(at + 1)) {
        return "node(s) didn't satisfy existing pods anti-affinity rules";
      }
    }
    return undefined;
  };
}

/** True when a term of a pod in `home` selects a pod of `namespace`. Namespaces are chosen by name only. */
function selects(
  term: PodAffinityTerm,
  home: string,
  namespace: string,
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  const all = term.namespaceSelector !== undefined && Object.keys(term.namespaceSelector).length === 0;
  const named = term.namespaces ?? [];
  if (!all && !(named.length === 0 ? namespace === home : named.includes(namespace))) return false;
  return matchLabelSelector(term.labelSelector, labels);
}
