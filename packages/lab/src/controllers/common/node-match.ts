import {
  type LabelRequirement,
  matchLabels,
  matchRequirements,
  type Node,
  type NodeSelectorTerm,
  type Pod,
  type Taint,
  type Toleration,
} from '@weft/kube';

/** True when the toleration covers the taint (core/v1 Toleration: an empty key with Exists covers all). */
export function tolerates(toleration: Toleration, taint: Taint): boolean {
  if (toleration.effect && toleration.effect !== taint.effect) return false;
  if (toleration.key && toleration.key !== taint.key) return false;
  switch (toleration.operator || 'Equal') {
    case 'Exists':
      return true;
    case 'Equal':
      return !!toleration.key && (toleration.value ?? '') === (taint.value ?? '');
    default:
      return false;
  }
}

/** The first taint of these effects that nothing tolerates. */
export function untolerated(
  taints: readonly Taint[] | undefined,
  tolerations: readonly Toleration[] | undefined,
  effects: readonly string[] = ['NoSchedule', 'NoExecute'],
): Taint | undefined {
  return taints?.find(
    (taint) => effects.includes(taint.effect) && !tolerations?.some((toleration) => tolerates(toleration, taint)),
  );
}

/** True when `nodeSelector` and the required node affinity of a pod admit the node. */
export function matchesNode(spec: Pod['spec'], node: Node): boolean {
  if (!matchLabels(spec.nodeSelector, node.metadata.labels)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || required.nodeSelectorTerms.some((term) => matchesTerm(term, node));
}

/** One term of a node selector; one without requirements matches nothing. */
export function matchesTerm(term: NodeSelectorTerm, node: Node): boolean {
  const { matchExpressions = [], matchFields = [] } = term;
  if (matchExpressions.length === 0 && matchFields.length === 0) return false;
  return (
    matchRequirements(matchExpressions.map(requirement), node.metadata.labels) &&
    // The one field that can be selected by.
    matchRequirements(matchFields.map(requirement), { 'metadata.name': node.metadata.name })
  );
}

function requirement(r: { key: string; operator: string; values?: string[] }): LabelRequirement {
  return { key: r.key, operator: r.operator as LabelRequirement['operator'], values: r.values ?? [] };
}
