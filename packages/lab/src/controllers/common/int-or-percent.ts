import type { IntOrString } from '@weft/kube';

/** A number, or a percentage of `total`; `round` says which way a fraction goes. What does not parse is 0. */
export function scaledValue(value: IntOrString | undefined, total: number, round: 'up' | 'down'): number {
  if (value === undefined) return 0;
  if (typeof value === 'number') return value;
  if (!value.endsWith('%')) return Number.parseInt(value, 10) || 0;
  const exact = ((Number.parseInt(value, 10) || 0) * total) / 100;
  return round === 'up' ? Math.ceil(exact) : Math.floor(exact);
}
