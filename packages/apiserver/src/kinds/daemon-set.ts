import type { DaemonSet } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { defaultTemplate, validateRunningTemplate, validateSelector } from './template.ts';
import { invalid, required } from './validate/errors.ts';
import { checkAtMostAll, checkIntOrPercent, isZero } from './validate/int-or-percent.ts';
import { checkEnum, checkImmutable, checkNonNegative } from './validate/values.ts';

function defaults(set: DaemonSet): void {
  const spec = (set.spec ??= {} as DaemonSet['spec']);
  const strategy = (spec.updateStrategy ??= {});
  strategy.type ||= 'RollingUpdate';
  if (strategy.type === 'RollingUpdate') {
    const rolling = (strategy.rollingUpdate ??= {});
    rolling.maxUnavailable ??= 1;
    rolling.maxSurge ??= 0;
  }
  spec.revisionHistoryLimit ??= 10;
  spec.template = defaultTemplate(spec.template);
}

function validateStrategy({ updateStrategy }: DaemonSet['spec']): FieldError[] {
  const errors = checkEnum('spec.updateStrategy.type', updateStrategy?.type, ['OnDelete', 'RollingUpdate']);
  const rolling = updateStrategy?.rollingUpdate;
  if (updateStrategy?.type !== 'RollingUpdate' || !rolling) return errors;
  const at = 'spec.updateStrategy.rollingUpdate';
  errors.push(
    ...checkIntOrPercent(`${at}.maxUnavailable`, rolling.maxUnavailable),
    ...checkIntOrPercent(`${at}.maxSurge`, rolling.maxSurge),
    ...checkAtMostAll(`${at}.maxUnavailable`, rolling.maxUnavailable),
    ...checkAtMostAll(`${at}.maxSurge`, rolling.maxSurge),
  );
  if (isZero(rolling.maxUnavailable) && isZero(rolling.maxSurge)) {
    errors.push(required(`${at}.maxUnavailable`, 'cannot be 0 when maxSurge is 0'));
  } else if (!isZero(rolling.maxUnavailable) && !isZero(rolling.maxSurge)) {
    errors.push(invalid(`${at}.maxSurge`, rolling.maxSurge, 'may not be set when maxUnavailable is non-zero'));
  }
  return errors;
}

/** apps/v1 DaemonSet. */
export const daemonSetRules: KindRules = rules<DaemonSet>({
  ...keepsStatus(() => ({
    currentNumberScheduled: 0,
    desiredNumberScheduled: 0,
    numberMisscheduled: 0,
    numberReady: 0,
  })),
  hasGeneration: true,
  defaults,
  validate: ({ spec }) => [
    ...validateSelector('daemonset', spec.selector, spec.template),
    ...validateRunningTemplate('spec.template', spec.template),
    ...validateStrategy(spec),
    ...checkNonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...checkNonNegative('spec.revisionHistoryLimit', spec.revisionHistoryLimit),
  ],
  validateUpdate: (next, old) => checkImmutable('spec.selector', next.spec.selector, old.spec.selector),
});
