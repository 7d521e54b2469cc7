import type { IntOrString } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { invalid } from './errors.ts';
import { checkNonNegative } from './values.ts';

const PERCENT = /^([0-9]+)%$/;

/** A count of pods, or a percentage of them. */
export function checkIntOrPercent(field: string, value: IntOrString | undefined): FieldError[] {
  if (value === undefined) return [];
  if (typeof value === 'number') return checkNonNegative(field, value);
  return PERCENT.test(value)
    ? []
    : [
        invalid(
          field,
          value,
          "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
        ),
      ];
}

export function checkAtMostAll(field: string, value: IntOrString | undefined): FieldError[] {
  const percent = typeof value === 'string' ? Number(PERCENT.exec(value)?.[1] ?? 0) : 0;
  return percent > 100 ? [invalid(field, value, 'must not be greater than 100%')] : [];
}

export const isZero = (value: IntOrString | undefined): boolean =>
  value === 0 || (typeof value === 'string' && /^0+%$/.test(value));
