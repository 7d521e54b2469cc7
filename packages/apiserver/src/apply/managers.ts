import type { ManagedFieldsEntry } from '@weft/kube';
import type { Call } from '../registry/context.ts';
import { formatTime } from '../registry/metadata.ts';
import type { Resource } from '../registry/resource.ts';
import type { AnyObject } from '../store/stored.ts';
import {
  difference,
  emptySet,
  type FieldSet,
  formatFields,
  isEmptySet,
  parseFields,
  sameSet,
  union,
} from './field-set.ts';
import { type Shape, shapeOfSchema, shapeOfType, DEDUCED } from './shape.ts';
import { changedFields, existing } from './typed.ts';

/** One manager of fields, with its set decoded. */
export interface Manager {
  readonly manager: string;
  readonly operation: 'Apply' | 'Update';
  readonly apiVersion: string;
  readonly subresource: string;
  readonly time: string;
  readonly set: FieldSet;
}

/** Fields that nobody owns (managedfields/internal/stripmeta.go). */
const STRIPPED = [
  'name',
  'namespace',
  'creationTimestamp',
  'selfLink',
  'uid',
  'generation',
  'managedFields',
  'resourceVersion',
  'generateName',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
];

const customShapes = new WeakMap<object, Shape>();

/** How the fields of a resource's objects are owned. */
export function shapeOf(resource: Resource): Shape {
  if (resource.typeName !== undefined) return shapeOfType(resource.typeName);
  if (resource.custom === undefined) return DEDUCED;
  let shape = customShapes.get(resource.custom);
  if (shape === undefined) {
    shape = shapeOfSchema(resource.custom.schema);
    customShapes.set(resource.custom, shape);
  }
  return shape;
}

/** Removes from a set what cannot be owned. */
export function ownable(set: FieldSet): FieldSet {
  const out = emptySet();
  for (const [key, child] of set.children) {
    if (key === 'f:apiVersion' || key === 'f:kind') continue;
    if (key !== 'f:metadata') {
      out.children.set(key, child);
      continue;
    }
    const metadata = emptySet();
    for (const [name, node] of child.children) {
      if (!STRIPPED.includes(name.slice(2))) metadata.children.set(name, node);
    }
    if (metadata.children.size > 0) out.children.set(key, metadata);
  }
  return out;
}

export function readManagers(entries: readonly ManagedFieldsEntry[] | undefined): Manager[] {
  return (entries ?? []).map((e) => ({
    manager: e.manager ?? '',
    operation: e.operation === 'Apply' ? 'Apply' : 'Update',
    apiVersion: e.apiVersion ?? '',
    subresource: e.subresource ?? '',
    time: e.time ?? '',
    set: parseFields(e.fieldsV1),
  }));
}

export function writeManagers(managers: readonly Manager[]): ManagedFieldsEntry[] {
  return managers
    .filter((m) => !isEmptySet(m.set))
    .sort((a, b) => compare(a.operation, b.operation) || compare(a.time, b.time) || compare(a.manager, b.manager))
    .map((m) => ({
      manager: m.manager,
      operation: m.operation,
      apiVersion: m.apiVersion,
      ...(m.time === '' ? {} : { time: m.time }),
      fieldsType: 'FieldsV1',
      fieldsV1: formatFields(m.set),
      ...(m.subresource === '' ? {} : { subresource: m.subresource }),
    }));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

/** Server-side apply has already worked out who owns what; anything else is tracked by comparing. */
export type Tracked = 'applied';

/**
 * Records who owns the fields that a write changed, in `next.metadata.managedFields` (KEP-555).
 *
 * Kubernetes does this for every write. Here a write is tracked when it names its field manager (kubectl does), or when
 * somebody's fields are tracked already; the agents and controllers of a cluster of our own would otherwise pay for
 * sets that nobody reads, which double the size of every object.
 */
export function trackFields(
  resource: Resource,
  next: AnyObject,
  old: AnyObject | undefined,
  call: Call,
  now: Date,
  tracked: Tracked | undefined,
  subresource = '',
): void {
  if (tracked === 'applied') return;
  const given = next.metadata.managedFields;
  // An empty list resets: the way to stop tracking. An absent one means that the client did not look.
  const base = given !== undefined && (old === undefined || given.length > 0) ? given : old?.metadata.managedFields;
  const reset = given !== undefined && given.length === 0;
  delete next.metadata.managedFields;
  if (reset || (!call.managerGiven && (base === undefined || base.length === 0))) return;
  if (old === undefined && !call.managerGiven) return;

  const shape = shapeOf(resource);
  const changed = ownable(changedFields(old ?? {}, next, shape));
  const managers = old === undefined ? [] : readManagers(base);
  const after = updateManagers(managers, changed, next, shape, {
    manager: call.manager,
    operation: 'Update',
    apiVersion: resource.apiVersion,
    subresource,
    time: formatTime(now),
  });
  const entries = writeManagers(after);
  if (entries.length > 0) next.metadata.managedFields = entries;
}

/** What changed goes from the others to the one who changed it; what is gone belongs to nobody. */
function updateManagers(
  managers: readonly Manager[],
  changed: FieldSet,
  next: AnyObject,
  shape: Shape,
  own: Omit<Manager, 'set'>,
): Manager[] {
  const out: Manager[] = [];
  let found = false;
  for (const m of managers) {
    const mine =
      m.operation === own.operation &&
      m.manager === own.manager &&
      m.subresource === own.subresource &&
      m.apiVersion === own.apiVersion;
    if (mine) found = true;
    const set = existing(mine ? union(m.set, changed) : difference(m.set, changed), next, shape);
    out.push({ ...m, set, time: mine && !sameSet(set, m.set) ? own.time : m.time });
  }
  if (!found) out.push({ ...own, set: changed });
  return out;
}
