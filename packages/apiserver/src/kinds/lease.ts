import type { Lease } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, rules } from './strategy.ts';
import { invalid } from './validate/errors.ts';
import { checkNonNegative } from './validate/values.ts';

function validate({ spec }: Lease): FieldError[] {
  const seconds = spec?.leaseDurationSeconds;
  return [
    ...(seconds !== undefined && seconds <= 0
      ? [invalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0')]
      : []),
    ...checkNonNegative('spec.leaseTransitions', spec?.leaseTransitions),
  ];
}

/** coordination.k8s.io/v1 Lease. */
export const leaseRules: KindRules = rules<Lease>({ validate });
