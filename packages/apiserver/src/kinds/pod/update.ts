import type { Container, Pod, PodSpec, Toleration } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { forbidden, invalid } from '../validate/errors.ts';
import { same } from '../validate/values.ts';

const ONLY =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

const sameButSeconds = (a: Toleration, b: Toleration): boolean =>
  same({ ...a, tolerationSeconds: null }, { ...b, tolerationSeconds: null });

function checkTolerations(next: PodSpec, old: PodSpec): FieldError[] {
  const kept = (old.tolerations ?? []).every((t) => next.tolerations?.some((n) => sameButSeconds(n, t)));
  return kept
    ? []
    : [forbidden('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds')];
}

function checkDeadline(next: PodSpec, old: PodSpec): FieldError[] {
  const [now, before] = [next.activeDeadlineSeconds, old.activeDeadlineSeconds];
  if (now === before || before === undefined) return [];
  if (now === undefined) {
    return [invalid('spec.activeDeadlineSeconds', now, 'must not update from a positive integer to nil value')];
  }
  return now > before
    ? [invalid('spec.activeDeadlineSeconds', now, `must be less than or equal to previous value`)]
    : [];
}

const withoutImages = (containers: readonly Container[] | undefined): unknown =>
  (containers ?? []).map((c) => ({ ...c, image: null }));

function gatesOnlyRemoved(next: PodSpec, old: PodSpec): boolean {
  return (next.schedulingGates ?? []).every((gate) => old.schedulingGates?.some((o) => o.name === gate.name));
}

/** The spec with everything that an update may change made equal. */
function comparable(spec: PodSpec, gated: boolean): Record<string, unknown> {
  const {
    activeDeadlineSeconds: _deadline,
    tolerations: _tolerations,
    terminationGracePeriodSeconds: _grace,
    schedulingGates: _gates,
    ...rest
  } = spec;
  return {
    ...rest,
    containers: withoutImages(spec.containers),
    initContainers: withoutImages(spec.initContainers),
    ...(gated ? { nodeSelector: null } : {}),
  };
}

/** Which of a stored pod's fields an update changes although it may not. */
export function validatePodUpdate(next: Pod, old: Pod): FieldError[] {
  const errors = [...checkDeadline(next.spec, old.spec), ...checkTolerations(next.spec, old.spec)];
  for (const [key, after, before] of [
    ['containers', next.spec.containers, old.spec.containers],
    ['initContainers', next.spec.initContainers, old.spec.initContainers],
  ] as const) {
    if ((after?.length ?? 0) !== (before?.length ?? 0)) {
      return [...errors, forbidden(`spec.${key}`, 'pod updates may not add or remove containers')];
    }
  }
  if (!gatesOnlyRemoved(next.spec, old.spec)) {
    errors.push(forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate'));
  }
  // A pod that is held back by gates may still be steered to other nodes.
  const gated = (old.spec.schedulingGates?.length ?? 0) > 0;
  const after = comparable(next.spec, gated);
  const before = comparable(old.spec, gated);
  const grace = [next.spec.terminationGracePeriodSeconds, old.spec.terminationGracePeriodSeconds];
  const graceAllowed = grace[0] === grace[1] || ((grace[1] ?? 0) < 0 && grace[0] === 1);
  if (!graceAllowed || !same(after, before)) {
    const changed = Object.keys({ ...after, ...before }).filter(
      (key) => !same(after[key] ?? null, before[key] ?? null),
    );
    if (!graceAllowed) changed.push('terminationGracePeriodSeconds');
    errors.push(forbidden('spec', `${ONLY}\n  changed: ${changed.map((key) => `spec.${key}`).join(', ')}`));
  }
  return errors;
}
