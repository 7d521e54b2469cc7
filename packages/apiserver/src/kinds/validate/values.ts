import { parseIp, parsePrefix } from '@weft/net';
import type { FieldError } from '../../contract.ts';
import { invalid, notSupported, required } from './errors.ts';

export const PROTOCOLS = ['SCTP', 'TCP', 'UDP'] as const;

/** Port numbers 1-65535. As for every check here, an absent value counts as Go's zero value. */
export function checkPort(field: string, port: number | undefined = 0): FieldError[] {
  return inRange(port, 1, 65535) ? [] : [invalid(field, port, 'must be between 1 and 65535, inclusive')];
}

export const inRange = (value: number, low: number, high: number): boolean =>
  Number.isInteger(value) && value >= low && value <= high;

export function checkNonNegative(field: string, value: number | null | undefined): FieldError[] {
  return value === undefined || value === null || value >= 0
    ? []
    : [invalid(field, value, 'must be greater than or equal to 0')];
}

export function checkEnum(field: string, value: string | undefined, supported: readonly string[]): FieldError[] {
  if (value === undefined || value === '') return [required(field)];
  return supported.includes(value) ? [] : [notSupported(field, value, supported)];
}

export function checkIp(field: string, value: string | undefined = ''): FieldError[] {
  return parseIp(value) === undefined
    ? [invalid(field, value, 'must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)')]
    : [];
}

export function checkCidr(field: string, value: string | undefined = ''): FieldError[] {
  return parsePrefix(value) === undefined
    ? [invalid(field, value, 'must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)')]
    : [];
}

/** Runs a syntax rule and makes a field error of each of its complaints. */
export function checkRule(
  field: string,
  value: string | undefined = '',
  rule: (value: string) => string[],
): FieldError[] {
  return rule(value).map((detail) => invalid(field, value, detail));
}

/** True when two JSON values are equal; the order of keys does not matter. */
export function same(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Array.isArray(a) || Array.isArray(b)) {
    return Array.isArray(a) && Array.isArray(b) && a.length === b.length && a.every((v, i) => same(v, b[i]));
  }
  const left = a as Record<string, unknown>;
  const right = b as Record<string, unknown>;
  const keys = new Set([...Object.keys(left), ...Object.keys(right)]);
  for (const key of keys) if (!same(left[key], right[key])) return false;
  return true;
}

/** What a plain update may not touch. */
export function checkImmutable(field: string, next: unknown, old: unknown): FieldError[] {
  return same(next ?? null, old ?? null) ? [] : [invalid(field, next, 'field is immutable')];
}
