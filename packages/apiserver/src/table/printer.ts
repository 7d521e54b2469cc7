import type { KubeObject, LabelSelector, PodSpec } from '@weft/kube';
import type { TableColumn } from '../contract.ts';
import { ageOf } from './age.ts';

export type Cell = string | number | boolean | null;

/** How objects of one kind become table rows; columns and cells are in the same order. */
export interface Printer<T extends KubeObject = KubeObject> {
  readonly columns: readonly TableColumn[];
  readonly cells: (obj: T, now: Date) => Cell[];
}

/** One column with the function that fills it, so that header and value cannot drift apart. */
export interface Part<T> {
  readonly column: TableColumn;
  readonly cell: (obj: T, now: Date) => Cell;
}

type Options = { readonly type?: TableColumn['type']; readonly format?: string; readonly wide?: boolean };

export function part<T>(
  name: string,
  cell: (obj: T, now: Date) => Cell,
  { type = 'string', format, wide = false }: Options = {},
  description = name,
): Part<T> {
  const column = { name, type, ...(format === undefined ? {} : { format }), description, priority: wide ? 1 : 0 };
  return { column, cell };
}

export function printer<T extends KubeObject>(...parts: readonly Part<T>[]): Printer<T> {
  return { columns: parts.map((p) => p.column), cells: (obj, now) => parts.map((p) => p.cell(obj, now)) };
}

export const wide = { wide: true } as const;
export const integer = { type: 'integer' } as const;

export const name: Part<KubeObject> = part(
  'Name',
  (o) => o.metadata.name,
  { format: 'name' },
  'Name, unique among objects of its kind (in its namespace)',
);
export const age: Part<KubeObject> = part(
  'Age',
  (o, now) => ageOf(o.metadata.creationTimestamp, now),
  {},
  'Time since creation',
);
export const createdAt: Part<KubeObject> = part(
  'Created At',
  (o) => o.metadata.creationTimestamp ?? null,
  { type: 'date' },
  'Time of creation',
);

export const orNone = (value: string | null | undefined): string => value || '<none>';

/** `a=1,b=2`, sorted by key, or `<none>`. */
export function labelsText(labels: Readonly<Record<string, string>> | null | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return orNone(pairs.sort().join(','));
}

/** A label selector as `metav1.FormatLabelSelector` shows it. */
export function selectorText(selector: LabelSelector | null | undefined): string {
  if (!selector) return '<none>';
  const terms: [string, string][] = Object.entries(selector.matchLabels ?? {}).map(([k, v]) => [k, `${k}=${v}`]);
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    const list = [...values].sort().join(',');
    if (operator === 'Exists') terms.push([key, key]);
    else if (operator === 'DoesNotExist') terms.push([key, `!${key}`]);
    else terms.push([key, `${key} ${operator === 'In' ? 'in' : 'notin'} (${list})`]);
  }
  terms.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  return orNone(terms.map(([, text]) => text).join(','));
}

/** Wide columns shared by everything that has a pod template. */
export function templateParts<T>(podSpec: (obj: T) => PodSpec | undefined): Part<T>[] {
  const join = (obj: T, field: 'name' | 'image'): string =>
    (podSpec(obj)?.containers ?? []).map((c) => c[field] ?? '').join(',');
  return [
    part('Containers', (o) => join(o, 'name'), wide, 'Names of each container in the template'),
    part('Images', (o) => join(o, 'image'), wide, 'Images referenced by each container in the template'),
  ];
}

/** The first `max` entries, and how many were left out. */
export function shortList(items: readonly string[], max = 3): string {
  return items.length > max ? `${items.slice(0, max).join(',')} + ${items.length - max} more...` : items.join(',');
}
