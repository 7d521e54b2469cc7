import type { ConfigMap, Secret } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, rules } from './strategy.ts';
import { forbidden, invalid, tooLong } from './validate/errors.ts';
import { configMapKey } from './validate/names.ts';
import { checkRule, same } from './validate/values.ts';

/** Bytes in all values together. */
const MAX_SIZE = 1024 * 1024;

export function checkKeys(field: string, data: Readonly<Record<string, string>> | undefined): FieldError[] {
  return Object.keys(data ?? {}).flatMap((key) => checkRule(`${field}[${key}]`, key, configMapKey));
}

export function checkSize(field: string, bytes: number): FieldError[] {
  return bytes > MAX_SIZE ? [tooLong(field, MAX_SIZE)] : [];
}

export const base64Size = (values: Readonly<Record<string, string>> | undefined): number =>
  Object.values(values ?? {}).reduce((sum, text) => sum + Buffer.byteLength(text, 'base64'), 0);

/** What `immutable: true` protects; it cannot be taken back either. */
export function checkFrozen(
  next: ConfigMap | Secret,
  old: ConfigMap | Secret,
  ...fields: ('data' | 'binaryData')[]
): FieldError[] {
  if (old.immutable !== true) return [];
  const why = 'field is immutable when `immutable` is set';
  const of = (obj: ConfigMap | Secret, key: string): unknown => (obj as unknown as Record<string, unknown>)[key];
  return [
    ...(next.immutable === true ? [] : [forbidden('immutable', why)]),
    ...fields.flatMap((key) => (same(of(next, key) ?? {}, of(old, key) ?? {}) ? [] : [forbidden(key, why)])),
  ];
}

function validate(map: ConfigMap): FieldError[] {
  const text = Object.values(map.data ?? {}).reduce((sum, value) => sum + Buffer.byteLength(value), 0);
  return [
    ...checkKeys('data', map.data),
    ...checkKeys('binaryData', map.binaryData),
    ...Object.keys(map.binaryData ?? {})
      .filter((key) => Object.hasOwn(map.data ?? {}, key))
      .map((key) => invalid('data', key, 'duplicate of key present in binaryData')),
    // The object itself has no field; Kubernetes prints an empty path like this.
    ...checkSize('[]', text + base64Size(map.binaryData)),
  ];
}

/** core/v1 ConfigMap. */
export const configMapRules: KindRules = rules<ConfigMap>({
  validate,
  validateUpdate: (next, old) => checkFrozen(next, old, 'data', 'binaryData'),
});
