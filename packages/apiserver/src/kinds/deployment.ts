import type { Deployment } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { defaultTemplate, validateRunningTemplate, validateSelector } from './template.ts';
import { forbidden, invalid } from './validate/errors.ts';
import { checkAtMostAll, checkIntOrPercent, isZero } from './validate/int-or-percent.ts';
import { checkEnum, checkImmutable, checkNonNegative } from './validate/values.ts';

function defaults(deployment: Deployment): void {
  const spec = (deployment.spec ??= {} as Deployment['spec']);
  spec.replicas ??= 1;
  const strategy = (spec.strategy ??= {});
  strategy.type ||= 'RollingUpdate';
  if (strategy.type === 'RollingUpdate') {
    const rolling = (strategy.rollingUpdate ??= {});
    rolling.maxUnavailable ??= '25%';
    rolling.maxSurge ??= '25%';
  }
  spec.revisionHistoryLimit ??= 10;
  spec.progressDeadlineSeconds ??= 600;
  spec.template = defaultTemplate(spec.template);
}

function validateStrategy({ strategy }: Deployment['spec']): FieldError[] {
  const errors = checkEnum('spec.strategy.type', strategy?.type, ['Recreate', 'RollingUpdate']);
  const rolling = strategy?.rollingUpdate;
  if (strategy?.type === 'Recreate' && rolling) {
    errors.push(forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'"));
  }
  if (strategy?.type !== 'RollingUpdate' || !rolling) return errors;
  const at = 'spec.strategy.rollingUpdate';
  errors.push(
    ...checkIntOrPercent(`${at}.maxUnavailable`, rolling.maxUnavailable),
    ...checkIntOrPercent(`${at}.maxSurge`, rolling.maxSurge),
    ...checkAtMostAll(`${at}.maxUnavailable`, rolling.maxUnavailable),
  );
  if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge)) {
    errors.push(invalid(`${at}.maxUnavailable`, rolling.maxUnavailable, 'may not be 0 when `maxSurge` is 0'));
  }
  return errors;
}

function validate({ spec }: Deployment): FieldError[] {
  const errors = [
    ...checkNonNegative('spec.replicas', spec.replicas),
    ...validateSelector('deployment', spec.selector, spec.template),
    ...validateRunningTemplate('spec.template', spec.template),
    ...validateStrategy(spec),
    ...checkNonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...checkNonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit),
    ...checkNonNegative('spec.progressDeadlineSeconds', spec.progressDeadlineSeconds),
  ];
  const deadline = spec.progressDeadlineSeconds;
  if (deadline !== undefined && deadline >= 0 && deadline <= (spec.minReadySeconds ?? 0)) {
    errors.push(invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds'));
  }
  return errors;
}

/** apps/v1 Deployment. */
export const deploymentRules: KindRules = rules<Deployment>({
  ...keepsStatus(() => ({})),
  hasGeneration: true,
  defaults,
  validate,
  validateUpdate: (next, old) => checkImmutable('spec.selector', next.spec.selector, old.spec.selector),
});
