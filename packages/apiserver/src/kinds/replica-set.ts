import type { PodTemplateSpec, ReplicaSet } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import type { ReplicationController } from '../table/workloads.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { defaultTemplate, validateRunningTemplate, validateSelector } from './template.ts';
import { invalid, required } from './validate/errors.ts';
import { checkLabels } from './validate/meta.ts';
import { checkImmutable, checkNonNegative } from './validate/values.ts';

function validate({ spec }: ReplicaSet): FieldError[] {
  return [
    ...checkNonNegative('spec.replicas', spec.replicas),
    ...checkNonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...validateSelector('deployment', spec.selector, spec.template),
    ...validateRunningTemplate('spec.template', spec.template ?? {}),
  ];
}

const counts = { replicas: (r: ReplicaSet): string => String(r.status?.replicas ?? 0) };

/** apps/v1 ReplicaSet. */
export const replicaSetRules: KindRules = rules<ReplicaSet>({
  ...keepsStatus(() => ({ replicas: 0 })),
  hasGeneration: true,
  defaults: (set) => {
    const spec = (set.spec ??= {} as ReplicaSet['spec']);
    spec.replicas ??= 1;
    spec.template = defaultTemplate(spec.template);
  },
  validate,
  validateUpdate: (next, old) => checkImmutable('spec.selector', next.spec.selector, old.spec.selector),
  selectableFields: { 'status.replicas': counts.replicas },
});

function defaultController(controller: ReplicationController): void {
  const spec = (controller.spec ??= {});
  spec.replicas ??= 1;
  const template: PodTemplateSpec = defaultTemplate(spec.template);
  spec.template = template;
  const labels = template.metadata?.labels;
  if (labels && Object.keys(spec.selector ?? {}).length === 0) spec.selector = { ...labels };
  if (labels && controller.metadata.labels === undefined) controller.metadata.labels = { ...labels };
}

function validateController({ spec }: ReplicationController): FieldError[] {
  const selector = spec.selector ?? {};
  const labels = spec.template?.metadata?.labels ?? {};
  const errors = [
    ...checkNonNegative('spec.replicas', spec.replicas),
    ...(Object.keys(selector).length === 0 ? [required('spec.selector')] : checkLabels('spec.selector', selector)),
    ...validateRunningTemplate('spec.template', spec.template ?? {}),
  ];
  if (!Object.entries(selector).every(([key, value]) => labels[key] === value)) {
    errors.push(invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`'));
  }
  return errors;
}

/** core/v1 ReplicationController. */
export const replicationControllerRules: KindRules = rules<ReplicationController>({
  ...keepsStatus(() => ({ replicas: 0 })),
  hasGeneration: true,
  defaults: defaultController,
  validate: validateController,
});
