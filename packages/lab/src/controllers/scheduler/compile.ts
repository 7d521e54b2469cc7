import { controllerOf, type Pod } from '@weft/kube';
import { matchesNode, matchesTerm, untolerated } from '../common/node-match.ts';
import { type ClusterState, hostPorts, type NodeState, portsConflict } from './model.ts';
import { podAffinityCheck, spreadCheck, spreadScore } from './spread.ts';

/** Where a pod goes, or why it goes nowhere, in the words of kube-scheduler. */
export type Placement = { readonly node: string } | { readonly node?: undefined; readonly message: string };

const UNSCHEDULABLE_TAINT = { key: 'node.kubernetes.io/unschedulable', effect: 'NoSchedule' } as const;
/** Refusals that taking other pods away could cure. */
const CURABLE = [
  "node(s) didn't have free ports for the requested pod ports",
  "node(s) didn't match pod topology spread constraints",
  "node(s) didn't match pod anti-affinity rules",
  "node(s) didn't satisfy existing pods anti-affinity rules",
];

/**
 * Picks a node: of those that fit, the one with the fewest pods of the same owner, then the one that wishes prefer, then
 * the one with the fewest pods, then the first by name. Resources are not looked at. Filters run in kube-scheduler's
 * order, so that the reason counted for a node is the same.
 */
export function schedule(pod: Pod, state: ClusterState): Placement {
  const nodes = [...state.nodes.values()];
  if (nodes.length === 0) return { message: 'no nodes available to schedule pods' };
  const ports = hostPorts(pod);
  const owner = controllerOf(pod)?.uid;
  const spread = spreadCheck(pod, nodes);
  const affinity = podAffinityCheck(pod, nodes, state);
  const wish = spreadScore(pod, nodes);
  const reasons = new Map<string, number>();
  let best: { state: NodeState; score: number[] } | undefined;
  for (const candidate of nodes) {
    const reason =
      nodeCheck(pod, candidate) ?? portCheck(ports, candidate) ?? spread?.(candidate) ?? affinity?.(candidate);
    if (reason !== undefined) {
      reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
      continue;
    }
    const score = [
      softTaints(pod, candidate),
      wish?.(candidate) ?? 0,
      owner === undefined ? 0 : (candidate.owners.get(owner) ?? 0),
      -preference(pod, candidate),
      candidate.pods.size,
    ];
    if (best === undefined || better(score, candidate, best)) best = { state: candidate, score };
  }
  return best === undefined
    ? { message: failureMessage(reasons, nodes.length) }
    : { node: best.state.node.metadata.name };
}

function nodeCheck(pod: Pod, { node }: NodeState): string | undefined {
  const { spec } = pod;
  const open = untolerated([UNSCHEDULABLE_TAINT], spec.tolerations) === undefined;
  if (node.spec?.unschedulable === true && !open) return 'node(s) were unschedulable';
  const taint = untolerated(node.spec?.taints, spec.tolerations);
  if (taint !== undefined) return `node(s) had untolerated taint {${taint.key}: ${taint.value ?? ''}}`;
  if (!matchesNode(spec, node)) return "node(s) didn't match Pod's node affinity/selector";
  return undefined;
}

function portCheck(ports: readonly string[], { pods }: NodeState): string | undefined {
  if (ports.length === 0) return undefined;
  for (const placed of pods.values()) {
    if (portsConflict(ports, placed.ports)) return "node(s) didn't have free ports for the requested pod ports";
  }
  return undefined;
}

/** Taints of the effect PreferNoSchedule that the pod does not tolerate. */
function softTaints(pod: Pod, { node }: NodeState): number {
  return (node.spec?.taints ?? []).filter((t) => untolerated([t], pod.spec.tolerations, ['PreferNoSchedule'])).length;
}

/** Sum of the weights of preferred node affinity terms that the node matches. */
function preference(pod: Pod, { node }: NodeState): number {
  let sum = 0;
  for (const term of pod.spec.affinity?.nodeAffinity?.preferredDuringSchedulingIgnoredDuringExecution ?? []) {
    if (matchesTerm(term.preference, node)) sum += term.weight;
  }
  return sum;
}

function better(score: readonly number[], state: NodeState, best: { state: NodeState; score: number[] }): boolean {
  for (let i = 0; i < score.length; i++) {
    const difference = (score[i] as number) - (best.score[i] as number);
    if (difference !== 0) return difference < 0;
  }
  return state.node.metadata.name < best.state.node.metadata.name;
}

function failureMessage(reasons: ReadonlyMap<string, number>, total: number): string {
  const list = [...reasons].map(([reason, count]) => `${count} ${reason}`).sort();
  const curable = [...reasons].reduce((n, [reason, count]) => n + (CURABLE.includes(reason) ? count : 0), 0);
  const preemption = [
    ...(curable > 0 ? [`${curable} No preemption victims found for incoming pod`] : []),
    ...(total > curable ? [`${total - curable} Preemption is not helpful for scheduling`] : []),
  ];
  return `0/${total} nodes are available: ${list.join(', ')}. preemption: 0/${total} nodes are available: ${preemption.join(', ')}.`;
}
