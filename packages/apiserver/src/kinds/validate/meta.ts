import type { LabelSelector } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { forbidden, invalid, required, tooLong } from './errors.ts';
import { labelValue, qualifiedName } from './names.ts';
import { checkRule } from './values.ts';

export function checkLabels(field: string, labels: Readonly<Record<string, string>> | null | undefined): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...checkRule(field, key, qualifiedName),
    ...checkRule(field, value, labelValue),
  ]);
}

/** Size of all annotations together, in bytes. */
const MAX_ANNOTATIONS = 256 * 1024;

export function checkAnnotations(
  field: string,
  annotations: Readonly<Record<string, string>> | null | undefined,
): FieldError[] {
  const entries = Object.entries(annotations ?? {});
  const size = entries.reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
  return [
    ...entries.flatMap(([key]) => qualifiedName(key.toLowerCase()).map((detail) => invalid(field, key, detail))),
    ...(size > MAX_ANNOTATIONS ? [tooLong(field, MAX_ANNOTATIONS)] : []),
  ];
}

export function checkLabelSelector(field: string, selector: LabelSelector | null | undefined): FieldError[] {
  if (!selector) return [];
  const errors = checkLabels(`${field}.matchLabels`, selector.matchLabels);
  for (const [i, { key, operator, values = [] }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${i}]`;
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      }
    } else errors.push(invalid(`${at}.operator`, operator, 'not a valid selector operator'));
    errors.push(...checkRule(`${at}.key`, key ?? '', qualifiedName));
    values.forEach((value, j) => {
      errors.push(...checkRule(`${at}.values[${j}]`, value, labelValue));
    });
  }
  return errors;
}
