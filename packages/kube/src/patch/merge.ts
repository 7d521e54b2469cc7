import { copyObject, isObject, type Json, type JsonObject, ownValue, sameJson, setKey } from './json-value.ts';

/**
 * Applies a JSON merge patch (RFC 7386): objects merge key by key, null deletes, anything else (lists too) replaces.
 * The input is not changed.
 */
export function applyMergePatch(target: Json | undefined, patch: Json): Json {
  if (!isObject(patch)) return patch;
  const out = isObject(target) ? copyObject(target) : {};
  for (const key of Object.keys(patch)) {
    const value = patch[key] as Json;
    if (value === null) delete out[key];
    else setKey(out, key, applyMergePatch(ownValue(out, key), value));
  }
  return out;
}

/**
 * The smallest merge patch that turns `before` into `after`, or undefined when they are equal. A null inside `after`
 * cannot be said in a merge patch (RFC 7386 §1) and is left out.
 */
export function mergePatchBetween(before: JsonObject, after: JsonObject): JsonObject | undefined {
  const patch: JsonObject = {};
  for (const key of Object.keys(before)) {
    if (!Object.hasOwn(after, key)) setKey(patch, key, null);
  }
  for (const key of Object.keys(after)) {
    const from = ownValue(before, key);
    const to = after[key] as Json;
    if (sameJson(from, to)) continue;
    if (isObject(from) && isObject(to)) {
      const inner = mergePatchBetween(from, to);
      if (inner !== undefined) setKey(patch, key, inner);
    } else setKey(patch, key, isObject(to) ? applyMergePatch({}, to) : to);
  }
  return Object.keys(patch).length === 0 ? undefined : patch;
}
