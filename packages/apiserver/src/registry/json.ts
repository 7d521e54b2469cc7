/** True for a JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const OWN = { writable: true, enumerable: true, configurable: true };

/** A deep copy of JSON data. */
export function clone<T>(value: T): T {
  if (typeof value !== 'object' || value === null) return value;
  if (Array.isArray(value)) return value.map(clone) as T;
  const out: Record<string, unknown> = {};
  for (const key in value) {
    // An assignment would swallow it, and it is a valid key of a ConfigMap.
    if (key === '__proto__') Object.defineProperty(out, key, { ...OWN, value: clone(value[key]) });
    else out[key] = clone(value[key]);
  }
  return out as T;
}
