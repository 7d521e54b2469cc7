/**
 * A set of paths into an object, as `managedFields[].fieldsV1` writes it (KEP-555): a tree whose keys are `f:NAME` for a
 * field or map key, `k:{…}` for a list item by its keys, and `v:VALUE` for an item of a set.
 */
export interface FieldSet {
  /** True when the path of this node itself is in the set. */
  member: boolean;
  readonly children: Map<string, FieldSet>;
}

export function emptySet(member = false): FieldSet {
  return { member, children: new Map() };
}

export function isEmptySet(set: FieldSet): boolean {
  return !set.member && set.children.size === 0;
}

/** Reads `fieldsV1`; what is not one counts as empty. */
export function parseFields(value: unknown): FieldSet {
  const set = emptySet();
  if (typeof value !== 'object' || value === null) return set;
  for (const [key, child] of Object.entries(value)) {
    if (key === '.') {
      set.member = true;
      continue;
    }
    const node = parseFields(child);
    if (node.children.size === 0) node.member = true;
    set.children.set(key, node);
  }
  return set;
}

/** Writes `fieldsV1`, keys sorted. */
export function formatFields(set: FieldSet): Record<string, unknown> {
  const out: Record<string, unknown> = {};
  if (set.member && set.children.size > 0) out['.'] = {};
  for (const key of [...set.children.keys()].sort()) out[key] = formatFields(set.children.get(key) as FieldSet);
  return out;
}

export function union(a: FieldSet, b: FieldSet): FieldSet {
  const out = emptySet(a.member || b.member);
  for (const key of new Set([...a.children.keys(), ...b.children.keys()])) {
    const [x, y] = [a.children.get(key), b.children.get(key)];
    out.children.set(key, x === undefined ? (y as FieldSet) : y === undefined ? x : union(x, y));
  }
  return out;
}

/** The paths of `a` that are not in `b`. */
export function difference(a: FieldSet, b: FieldSet): FieldSet {
  const out = emptySet(a.member && !b.member);
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    const rest = other === undefined ? child : difference(child, other);
    if (!isEmptySet(rest)) out.children.set(key, rest);
  }
  return out;
}

/** The paths that are in both. */
export function intersection(a: FieldSet, b: FieldSet): FieldSet {
  const out = emptySet(a.member && b.member);
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    if (other === undefined) continue;
    const both = intersection(child, other);
    if (!isEmptySet(both)) out.children.set(key, both);
  }
  return out;
}

export function sameSet(a: FieldSet, b: FieldSet): boolean {
  if (a.member !== b.member || a.children.size !== b.children.size) return false;
  for (const [key, child] of a.children) {
    const other = b.children.get(key);
    if (other === undefined || !sameSet(child, other)) return false;
  }
  return true;
}

/** All member paths, as Kubernetes prints them: `.spec.ports[port=80,protocol="TCP"].name`. */
export function pathsOf(set: FieldSet, prefix = ''): string[] {
  const out = set.member ? [prefix] : [];
  for (const [key, child] of set.children) out.push(...pathsOf(child, prefix + formatElement(key)));
  return out;
}

/** A path element as Kubernetes prints it: `.name`, `[="value"]`, `[port=80,protocol="TCP"]`. */
export function formatElement(key: string): string {
  const rest = key.slice(2);
  if (key.startsWith('f:')) return `.${rest}`;
  if (key.startsWith('v:')) return `[=${rest}]`;
  const keys = Object.entries(JSON.parse(rest) as Record<string, unknown>);
  return `[${keys.map(([name, value]) => `${name}=${JSON.stringify(value)}`).join(',')}]`;
}
