/** The API object and field that caused an entry of a plan to exist. */
export interface Provenance {
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** Field path in the object, for example `spec.ports[0].nodePort`. */
  readonly field?: string;
}

/** One thing that must exist, and why. */
export interface Entry<V> {
  readonly value: V;
  readonly cause: Provenance;
}

/** What must exist, keyed so that two plans can be compared entry by entry. */
export type Plan<V> = ReadonlyMap<string, Entry<V>>;

/** The smallest change that leads from one plan to another. */
export interface Diff<V> {
  readonly added: ReadonlyMap<string, Entry<V>>;
  readonly changed: ReadonlyMap<string, { readonly from: Entry<V>; readonly to: Entry<V> }>;
  readonly removed: ReadonlyMap<string, Entry<V>>;
}

/** `Service default/web spec.ports[0]`, for messages. */
export function formatProvenance(cause: Provenance): string {
  const name = cause.namespace === undefined ? cause.name : `${cause.namespace}/${cause.name}`;
  return cause.field === undefined ? `${cause.kind} ${name}` : `${cause.kind} ${name} ${cause.field}`;
}

/** Structural equality of plain data: primitives, arrays, plain objects, typed arrays, Maps and Sets. */
export function sameValue(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (a.constructor !== b.constructor) return false;
  if (Array.isArray(a)) {
    const other = b as unknown[];
    return a.length === other.length && a.every((item, i) => sameValue(item, other[i]));
  }
  if (ArrayBuffer.isView(a)) {
    const x = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
    const other = b as ArrayBufferView;
    const y = new Uint8Array(other.buffer, other.byteOffset, other.byteLength);
    return x.length === y.length && x.every((byte, i) => byte === y[i]);
  }
  if (a instanceof Map) {
    const other = b as Map<unknown, unknown>;
    if (a.size !== other.size) return false;
    for (const [key, value] of a) if (!other.has(key) || !sameValue(value, other.get(key))) return false;
    return true;
  }
  if (a instanceof Set) {
    const other = b as Set<unknown>;
    if (a.size !== other.size) return false;
    for (const value of a) if (!other.has(value)) return false;
    return true;
  }
  const x = a as Record<string, unknown>;
  const y = b as Record<string, unknown>;
  const keys = Object.keys(x);
  if (keys.length !== Object.keys(y).length) return false;
  return keys.every((key) => Object.hasOwn(y, key) && sameValue(x[key], y[key]));
}

/**
 * The change from `from` to `to`. Provenance alone is not a change: an entry that exists for a new reason needs no
 * side effect.
 */
export function diffPlans<V>(from: Plan<V>, to: Plan<V>, same: (a: V, b: V) => boolean = sameValue): Diff<V> {
  const added = new Map<string, Entry<V>>();
  const changed = new Map<string, { from: Entry<V>; to: Entry<V> }>();
  const removed = new Map<string, Entry<V>>();
  for (const [key, entry] of to) {
    const old = from.get(key);
    if (old === undefined) added.set(key, entry);
    else if (!same(old.value, entry.value)) changed.set(key, { from: old, to: entry });
  }
  for (const [key, entry] of from) if (!to.has(key)) removed.set(key, entry);
  return { added, changed, removed };
}

/** True when a diff asks for nothing. */
export function isEmptyDiff<V>(diff: Diff<V>): boolean {
  return diff.added.size === 0 && diff.changed.size === 0 && diff.removed.size === 0;
}
