import { type Json, sameJson } from '@weft/kube';
import { emptySet, type FieldSet, formatElement, isEmptySet } from './field-set.ts';
import type { Shape } from './shape.ts';
import { isRecord } from '../registry/json.ts';

/** Keys of list items that have a default in the schema: a port without a protocol is a TCP port. */
const KEY_DEFAULTS: Readonly<Record<string, Json>> = { protocol: 'TCP' };

/** The children of a value by their path elements; undefined when the value is owned as a whole. */
function childrenOf(value: unknown, shape: Shape): Map<string, [value: unknown, shape: Shape]> | undefined {
  const out = new Map<string, [unknown, Shape]>();
  switch (shape.kind) {
    case 'struct':
    case 'map':
      if (!isRecord(value)) return undefined;
      for (const [name, child] of Object.entries(value)) {
        const inner = shape.kind === 'map' ? shape.of : shape.field(name);
        if (inner !== undefined) out.set(`f:${name}`, [child, inner]);
      }
      return out;
    case 'set':
      if (!Array.isArray(value)) return undefined;
      for (const item of value) out.set(`v:${JSON.stringify(item)}`, [item, { kind: 'leaf' }]);
      return out;
    case 'items':
      if (!Array.isArray(value)) return undefined;
      for (const item of value) out.set(itemKey(item, shape.keys), [item, shape.of]);
      return out;
    default:
      return undefined;
  }
}

/** `k:{"containerPort":80,"protocol":"TCP"}`. */
function itemKey(item: unknown, keys: readonly string[]): string {
  const record = isRecord(item) ? item : {};
  const out: Record<string, unknown> = {};
  for (const key of [...keys].sort()) {
    const value = record[key] ?? KEY_DEFAULTS[key];
    if (value !== undefined) out[key] = value;
  }
  return `k:${JSON.stringify(out)}`;
}

/**
 * What keeps the items of lists from being told apart: two of one key, or one without a field of its key. As
 * structured-merge-diff words it, each with its path.
 */
export function listFaults(value: unknown, shape: Shape, path = ''): string[] {
  const faults: string[] = [];
  if (Array.isArray(value) && (shape.kind === 'items' || shape.kind === 'set')) {
    const seen = new Set<string>();
    value.forEach((item, i) => {
      const missing = shape.kind === 'items' ? missingKey(item, shape.keys) : undefined;
      if (missing !== undefined) {
        faults.push(
          `${path}: element ${i}: associative list with keys has an element that omits key field "${missing}" (and doesn't have default value)`,
        );
        return;
      }
      const key = shape.kind === 'items' ? itemKey(item, shape.keys) : `v:${JSON.stringify(item)}`;
      if (seen.has(key)) faults.push(`${path}: duplicate entries for key ${formatElement(key)}`);
      seen.add(key);
    });
  }
  for (const [key, [child, inner]] of childrenOf(value, shape) ?? []) {
    faults.push(...listFaults(child, inner, path + formatElement(key)));
  }
  return faults;
}

function missingKey(item: unknown, keys: readonly string[]): string | undefined {
  return keys.find((key) => (isRecord(item) ? item[key] : undefined) === undefined && KEY_DEFAULTS[key] === undefined);
}

/** The set that owning a value means: its leaves, and its list items themselves. */
export function fieldsOf(value: unknown, shape: Shape): FieldSet {
  const set = emptySet();
  const children = childrenOf(value, shape);
  if (children === undefined || children.size === 0) {
    set.member = true;
    return set;
  }
  for (const [key, [child, inner]] of children) {
    const node = fieldsOf(child, inner);
    if (shape.kind === 'items') node.member = true;
    set.children.set(key, node);
  }
  return set;
}

/** The paths that are new or different in `next`. */
export function changedFields(old: unknown, next: unknown, shape: Shape): FieldSet {
  if (old === undefined) {
    const set = fieldsOf(next, shape);
    // A list or map that appears is owned itself; a struct only by its fields.
    if (shape.kind !== 'struct') set.member = true;
    return set;
  }
  const set = emptySet();
  if (old === next) return set;
  const [before, after] = [childrenOf(old, shape), childrenOf(next, shape)];
  if (before === undefined || after === undefined || (after.size === 0 && before.size > 0)) {
    set.member = !sameJson(old as Json, next as Json);
    return set;
  }
  for (const [key, [child, inner]] of after) {
    const was = before.get(key);
    const node = changedFields(was?.[0], child, inner);
    if (was === undefined && shape.kind === 'items') node.member = true;
    if (!isEmptySet(node)) set.children.set(key, node);
  }
  return set;
}

/** The part of a set whose paths exist in a value. */
export function existing(set: FieldSet, value: unknown, shape: Shape): FieldSet {
  const out = emptySet(set.member);
  const children = childrenOf(value, shape);
  if (children === undefined) return out;
  for (const [key, node] of set.children) {
    const child = children.get(key);
    if (child === undefined) continue;
    const rest = existing(node, child[0], child[1]);
    if (!isEmptySet(rest)) out.children.set(key, rest);
  }
  return out;
}

/** `live` with everything that `config` says. Neither is changed. */
export function mergeTyped(live: unknown, config: unknown, shape: Shape): unknown {
  if (live === undefined || live === null) return config;
  switch (shape.kind) {
    case 'struct':
    case 'map': {
      if (!isRecord(live) || !isRecord(config)) return config;
      // Through a map, because `__proto__` is a key like any other in ConfigMaps.
      const out = new Map(Object.entries(live));
      for (const [name, value] of Object.entries(config)) {
        const inner = shape.kind === 'map' ? shape.of : shape.field(name);
        out.set(name, inner === undefined ? value : mergeTyped(out.get(name), value, inner));
      }
      return Object.fromEntries(out);
    }
    case 'set':
    case 'items': {
      if (!Array.isArray(live) || !Array.isArray(config)) return config;
      const before = childrenOf(live, shape) as Map<string, [unknown, Shape]>;
      const wanted = childrenOf(config, shape) as Map<string, [unknown, Shape]>;
      const merged = (key: string): unknown => {
        const [was, is] = [before.get(key), wanted.get(key)];
        if (is === undefined) return was?.[0];
        return was === undefined ? is[0] : mergeTyped(was[0], is[0], is[1]);
      };
      // The applied order, when it names every item; else the items keep their places and new ones follow.
      const all = [...before.keys()].every((key) => wanted.has(key));
      const keys = all ? [...wanted.keys()] : [...new Set([...before.keys(), ...wanted.keys()])];
      return keys.map(merged);
    }
    default:
      return config;
  }
}

/**
 * `value` without what `last` has and `owned` has not: what a manager applied before, does not apply any more, and
 * nobody else owns. Undefined when nothing is left.
 */
export function removeUnowned(value: unknown, shape: Shape, last: FieldSet, owned: FieldSet | undefined): unknown {
  if (owned === undefined || isEmptySet(owned)) {
    // A struct on the way to something that was applied goes as a whole, with what was filled in by default.
    if (last.member || shape.kind === 'struct') return undefined;
  }
  const children = childrenOf(value, shape);
  if (children === undefined) return value;
  const gone = new Set<string>();
  const changed = new Map<string, unknown>();
  const keys = shape.kind === 'items' ? shape.keys : [];
  for (const [key, node] of last.children) {
    const child = children.get(key);
    if (child === undefined) continue;
    const rest = removeUnowned(child[0], child[1], node, owned?.children.get(key));
    if (rest === undefined) gone.add(key);
    else if (rest !== child[0]) changed.set(key, withKeys(rest, child[0], keys));
  }
  if (gone.size === 0 && changed.size === 0) return value;
  if (Array.isArray(value)) {
    return [...children].filter(([key]) => !gone.has(key)).map(([key, [child]]) => changed.get(key) ?? child);
  }
  return Object.fromEntries(
    Object.entries(value as Record<string, unknown>)
      .filter(([name]) => !gone.has(`f:${name}`))
      .map(([name, child]) => [name, changed.get(`f:${name}`) ?? child]),
  );
}

/** An item that stays keeps the fields that identify it. */
function withKeys(item: unknown, before: unknown, keys: readonly string[]): unknown {
  if (!isRecord(item) || !isRecord(before)) return item;
  const out = { ...item };
  for (const key of keys) if (before[key] !== undefined) out[key] = before[key];
  return out;
}
