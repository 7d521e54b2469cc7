import type { IPAddress, KubeObject, LabelSelector, ServiceCIDR } from '@weft/kube';
import { parseIp } from '@weft/net';
import type { FieldError } from '../contract.ts';
import type { HorizontalPodAutoscaler } from '../table/cluster.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { forbidden, invalid, required } from './validate/errors.ts';
import { checkIntOrPercent } from './validate/int-or-percent.ts';
import { checkLabelSelector } from './validate/meta.ts';
import { dnsLabel } from './validate/names.ts';
import { checkCidr, checkEnum, checkImmutable, checkRule } from './validate/values.ts';

interface PodDisruptionBudget extends KubeObject {
  spec: { minAvailable?: number | string; maxUnavailable?: number | string; selector?: LabelSelector };
  status?: { currentHealthy: number; desiredHealthy: number; disruptionsAllowed: number; expectedPods: number };
}

/** policy/v1 PodDisruptionBudget. */
export const podDisruptionBudgetRules: KindRules = rules<PodDisruptionBudget>({
  ...keepsStatus(() => ({ currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0 })),
  hasGeneration: true,
  defaults: (budget) => {
    budget.spec ??= {};
  },
  validate: ({ spec }) => [
    ...(spec.minAvailable !== undefined && spec.maxUnavailable !== undefined
      ? [invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set')]
      : []),
    ...checkIntOrPercent('spec.minAvailable', spec.minAvailable),
    ...checkIntOrPercent('spec.maxUnavailable', spec.maxUnavailable),
    ...checkLabelSelector('spec.selector', spec.selector),
  ],
});

/** autoscaling HorizontalPodAutoscaler. */
export const horizontalPodAutoscalerRules: KindRules = rules<HorizontalPodAutoscaler>({
  ...keepsStatus(() => ({ currentReplicas: 0 })),
  defaults: (scaler) => {
    scaler.spec ??= {};
    scaler.spec.minReplicas ??= 1;
  },
  validate: ({ spec }) => {
    const errors: FieldError[] = [];
    const { minReplicas = 1, maxReplicas = 0, scaleTargetRef } = spec;
    if (minReplicas < 1) errors.push(invalid('spec.minReplicas', minReplicas, 'must be greater than or equal to 1'));
    if (maxReplicas < 1) errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than 0'));
    else if (maxReplicas < minReplicas) {
      errors.push(invalid('spec.maxReplicas', maxReplicas, 'must be greater than or equal to `minReplicas`'));
    }
    if (!scaleTargetRef?.kind) errors.push(required('spec.scaleTargetRef.kind'));
    if (!scaleTargetRef?.name) errors.push(required('spec.scaleTargetRef.name'));
    return errors;
  },
});

interface PriorityClass extends KubeObject {
  value?: number;
  preemptionPolicy?: string;
}

const HIGHEST_USER_PRIORITY = 1_000_000_000;

/** scheduling.k8s.io/v1 PriorityClass. */
export const priorityClassRules: KindRules = rules<PriorityClass>({
  hasGeneration: true,
  defaults: (c) => {
    c.preemptionPolicy ??= 'PreemptLowerPriority';
  },
  validate: (c) => [
    ...((c.value ?? 0) > HIGHEST_USER_PRIORITY && !c.metadata.name.startsWith('system-')
      ? [forbidden('value', `maximum allowed value of a user defined priority is ${HIGHEST_USER_PRIORITY}`)]
      : []),
    ...checkEnum('preemptionPolicy', c.preemptionPolicy, ['Never', 'PreemptLowerPriority']),
  ],
  validateUpdate: (next, old) => [
    ...((next.value ?? 0) === (old.value ?? 0) ? [] : [forbidden('value', 'may not be changed in an update.')]),
    ...checkImmutable('preemptionPolicy', next.preemptionPolicy, old.preemptionPolicy),
  ],
});

interface RuntimeClass extends KubeObject {
  handler?: string;
}

/** node.k8s.io/v1 RuntimeClass. */
export const runtimeClassRules: KindRules = rules<RuntimeClass>({
  validate: ({ handler = '' }) => checkRule('handler', handler, dnsLabel),
  validateUpdate: (next, old) => checkImmutable('handler', next.handler, old.handler),
});

/** networking.k8s.io/v1 ServiceCIDR. */
export const serviceCidrRules: KindRules = rules<ServiceCIDR>({
  ...keepsStatus(() => ({})),
  validate: ({ spec }) => {
    const cidrs = spec?.cidrs ?? [];
    if (cidrs.length === 0) return [required('spec.cidrs', 'at least one CIDR required')];
    const errors = cidrs.flatMap((cidr, i) => checkCidr(`spec.cidrs[${i}]`, cidr));
    if (cidrs.length > 2) errors.push(invalid('spec', spec, 'may only hold up to 2 values'));
    return errors;
  },
  validateUpdate: (next, old) => checkImmutable('spec.cidrs', next.spec?.cidrs, old.spec?.cidrs),
});

/** networking.k8s.io/v1 IPAddress, whose name is the address. */
export const ipAddressRules: KindRules = rules<IPAddress>({
  nameRule: 'path-segment',
  validate: ({ metadata, spec }) => [
    ...(parseIp(metadata.name) === undefined
      ? [invalid('metadata.name', metadata.name, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
      : []),
    ...(spec?.parentRef ? [] : [required('spec.parentRef')]),
  ],
  validateUpdate: (next, old) => checkImmutable('spec.parentRef', next.spec.parentRef, old.spec.parentRef),
});
