import { badPatch } from './errors.ts';
import { isObject, type Json, type JsonObject, ownValue, sameJson, setKey } from './json-value.ts';

/** What the OpenAPI document says about one field, as far as patches care (`x-kubernetes-patch-*`). */
export interface PatchField {
  /** The named type of the object, of the list's items or of the map's values; absent for scalars. */
  readonly type?: string;
  readonly list?: boolean;
  readonly map?: boolean;
  /** The field that tells the items of a merged list of objects apart. */
  readonly mergeKey?: string;
  readonly strategy?: readonly ('merge' | 'replace' | 'retainKeys')[];
}

/** Looks a field up in a named type. Unknown types and fields merge as in RFC 7386. */
export interface PatchSchema {
  field(typeName: string, fieldName: string): PatchField | undefined;
}

const DIRECTIVE = '$patch';
const RETAIN_KEYS = '$retainKeys';
const DELETE_PREFIX = '$deleteFromPrimitiveList/';
const ORDER_PREFIX = '$setElementOrder/';

/** Where in the schema an object stands: a named type, or a map whose values have one. */
interface Shape {
  readonly type?: string | undefined;
  readonly map?: boolean | undefined;
}

/**
 * Applies a strategic merge patch, as `kubectl apply` and `kubectl edit` send it.
 *
 * Objects merge key by key and null deletes. A list is replaced, unless the schema gives it the strategy `merge`: then
 * objects merge by their merge key and scalars by value. The directives are `$patch: replace | delete | merge` in an
 * object or list item, `$retainKeys`, `$deleteFromPrimitiveList/FIELD` and `$setElementOrder/FIELD`
 * (k8s.io/apimachinery/pkg/util/strategicpatch). Throws PatchError; the input is not changed.
 */
export function applyStrategicMergePatch(
  original: JsonObject,
  patch: JsonObject,
  typeName: string | undefined,
  schema: PatchSchema,
): JsonObject {
  return new StrategicMerge(schema).object(original, patch, { type: typeName });
}

class StrategicMerge {
  readonly #schema: PatchSchema;

  constructor(schema: PatchSchema) {
    this.#schema = schema;
  }

  object(original: JsonObject, patch: JsonObject, shape: Shape): JsonObject {
    const directive = ownValue(patch, DIRECTIVE);
    if (directive === 'replace') return this.#fresh(patch) as JsonObject;
    if (directive === 'delete') return {};
    if (directive !== undefined && directive !== 'merge') throw badDirective(directive, patch);

    const out = { ...original };
    retainKeys(out, patch);
    const ordered = this.#orderedLists(out, original, patch, shape);
    for (const key of Object.keys(patch)) {
      if (key === DIRECTIVE || key === RETAIN_KEYS || key.startsWith(ORDER_PREFIX) || ordered.has(key)) continue;
      const value = patch[key] as Json;
      if (key.startsWith(DELETE_PREFIX)) {
        deleteScalars(out, key.slice(DELETE_PREFIX.length), value);
        continue;
      }
      if (value === null) {
        delete out[key];
        continue;
      }
      const merged = this.#value(ownValue(out, key), value, this.#lookup(shape, key));
      if (merged !== undefined) setKey(out, key, merged);
    }
    return out;
  }

  #lookup(shape: Shape, key: string): PatchField {
    if (shape.type === undefined) return {};
    if (shape.map) return { type: shape.type };
    return this.#schema.field(shape.type, key) ?? {};
  }

  #value(original: Json | undefined, patch: Json, field: PatchField): Json | undefined {
    if (isObject(original) && isObject(patch)) {
      if (field.strategy?.includes('replace')) return this.#fresh(patch);
      return this.object(original, patch, { type: field.type, map: field.map });
    }
    if (Array.isArray(original) && Array.isArray(patch) && field.strategy?.includes('merge')) {
      return this.#list(original, patch, field);
    }
    return this.#fresh(patch);
  }

  /** Merges two lists. Items that the patch names keep the patch's order, the others their place among them. */
  #list(original: readonly Json[], patch: readonly Json[], field: PatchField): Json[] {
    if (![...original, ...patch].some(isObject)) {
      checkScalars(original, patch);
      const merged = unique([...original, ...patch]);
      return inOrder(merged, patch, original, sameJson);
    }
    const { mergeKey } = field;
    if (mergeKey === undefined) throw badPatch(`cannot merge lists without merge key for ${field.type ?? 'list'}`);
    const items = checkObjects(patch);
    let kept = checkObjects(original);
    const changes: JsonObject[] = [];
    let replace = false;
    for (const item of items) {
      const directive = ownValue(item, DIRECTIVE);
      if (directive === undefined) changes.push(item);
      else if (directive === 'replace') replace = true;
      else if (directive === 'delete') {
        const wanted = keyOf(item, mergeKey);
        kept = kept.filter((each) => !sameJson(ownValue(each, mergeKey), wanted));
      } else if (directive === 'merge') throw badPatch('merging lists cannot yet be specified in the patch');
      else throw badDirective(directive, item);
    }
    if (replace) return changes.map((item) => this.#fresh(item) as Json);
    const merged = [...kept];
    for (const item of changes) {
      const wanted = keyOf(item, mergeKey);
      const at = merged.findIndex((each) => sameJson(ownValue(each, mergeKey), wanted));
      const existing = merged[at];
      if (existing === undefined) merged.push(this.#fresh(item) as JsonObject);
      else merged[at] = this.object(existing, item, { type: field.type });
    }
    return inOrder(merged, changes, kept, sameKey(mergeKey));
  }

  /** Handles `$setElementOrder/FIELD`; returns the fields that are done with it. */
  #orderedLists(out: JsonObject, original: JsonObject, patch: JsonObject, shape: Shape): Set<string> {
    const done = new Set<string>();
    for (const directive of Object.keys(patch)) {
      if (!directive.startsWith(ORDER_PREFIX)) continue;
      const key = directive.slice(ORDER_PREFIX.length);
      const order = patch[directive];
      if (!Array.isArray(order)) throw badPatch('invalid patch format of setElementOrder list');
      const change = ownValue(patch, key);
      // A null beside an order deletes the list: that is the ordinary way.
      if (change === null) continue;
      const field = this.#lookup(shape, key);
      const same = field.mergeKey === undefined ? sameJson : sameKey(field.mergeKey);
      const before = ownValue(out, key);
      if (change !== undefined && !Array.isArray(change))
        throw badPatch('invalid patch format of setElementOrder list');
      if (change !== undefined) checkOrder(change, order, same);
      const merged = change === undefined ? before : this.#value(before, change, field);
      done.add(key);
      if (!Array.isArray(merged)) continue;
      const live = ownValue(original, key);
      setKey(out, key, inOrder(merged, order, Array.isArray(live) ? live : [], same));
    }
    return done;
  }

  /** What a patch value becomes where nothing was before: directives and nulls have nothing left to act on. */
  #fresh(patch: Json): Json | undefined {
    if (Array.isArray(patch)) {
      const out: Json[] = [];
      for (const item of patch) {
        if (isObject(item) && Object.hasOwn(item, DIRECTIVE)) continue;
        out.push(this.#fresh(item) as Json);
      }
      return out;
    }
    if (!isObject(patch)) return patch;
    const directive = ownValue(patch, DIRECTIVE);
    if (directive === 'delete') return {};
    if (directive !== undefined && directive !== 'replace' && directive !== 'merge')
      throw badDirective(directive, patch);
    const out: JsonObject = {};
    for (const key of Object.keys(patch)) {
      const value = patch[key] as Json;
      if (value === null || key === DIRECTIVE || key === RETAIN_KEYS) continue;
      if (key.startsWith(DELETE_PREFIX) || key.startsWith(ORDER_PREFIX)) continue;
      setKey(out, key, this.#fresh(value) as Json);
    }
    return out;
  }
}

/** `$retainKeys` (unions): every key that the list does not name goes. */
function retainKeys(out: JsonObject, patch: JsonObject): void {
  const keys = ownValue(patch, RETAIN_KEYS);
  if (keys === undefined) return;
  if (!Array.isArray(keys)) throw badPatch('invalid patch format of retainKeys');
  const retained = new Set(keys);
  for (const key of Object.keys(patch)) {
    if (patch[key] === null || key.startsWith('$')) continue;
    if (!retained.has(key)) throw badPatch("patch content doesn't match retainKeys list");
  }
  for (const key of Object.keys(out)) if (!retained.has(key)) delete out[key];
}

function deleteScalars(out: JsonObject, key: string, values: Json): void {
  if (!Array.isArray(values) || values.some((v) => typeof v === 'object')) {
    throw badPatch('invalid patch format of primitive list');
  }
  const list = ownValue(out, key);
  if (!Array.isArray(list)) return;
  setKey(
    out,
    key,
    list.filter((item) => !values.some((v) => sameJson(v, item))),
  );
}

type Same = (a: Json, b: Json) => boolean;

function sameKey(mergeKey: string): Same {
  return (a, b) => isObject(a) && isObject(b) && sameJson(ownValue(a, mergeKey), ownValue(b, mergeKey));
}

/**
 * Orders `items`: those that `patchOrder` names follow it; the others follow `liveOrder` and are put in front of the
 * first named item that comes later in `liveOrder`, or at the end. Ties go to the named items.
 */
function inOrder(items: readonly Json[], patchOrder: readonly Json[], liveOrder: readonly Json[], same: Same): Json[] {
  const rank = (order: readonly Json[], item: Json): number => order.findIndex((each) => same(each, item));
  const sorted = (list: { item: Json; at: number }[]): Json[] => list.sort((a, b) => a.at - b.at).map((e) => e.item);
  const named: { item: Json; at: number }[] = [];
  const others: { item: Json; at: number }[] = [];
  for (const item of items) {
    const at = rank(patchOrder, item);
    if (at >= 0) named.push({ item, at });
    else {
      const live = rank(liveOrder, item);
      others.push({ item, at: live < 0 ? Number.MAX_SAFE_INTEGER : live });
    }
  }
  const left = sorted(others);
  const right = sorted(named);
  const out: Json[] = [];
  let i = 0;
  for (const item of right) {
    const place = rank(liveOrder, item);
    for (; i < left.length && place >= 0; i++) {
      const other = rank(liveOrder, left[i] as Json);
      if (other < 0 || other > place) break;
      out.push(left[i] as Json);
    }
    out.push(item);
  }
  return [...out, ...left.slice(i)];
}

/** The items of a patch must come in the order that `$setElementOrder` gives. */
function checkOrder(items: readonly Json[], order: readonly Json[], same: Same): void {
  let at = 0;
  for (const item of items) {
    if (isObject(item) && Object.hasOwn(item, DIRECTIVE)) continue;
    while (at < order.length && !same(order[at] as Json, item)) at++;
    if (at === order.length) {
      throw badPatch(
        `The order in patch list:\n${JSON.stringify(items)}\n doesn't match $setElementOrder list:\n${JSON.stringify(order)}\n`,
      );
    }
    at++;
  }
}

function unique(items: readonly Json[]): Json[] {
  const out: Json[] = [];
  for (const item of items) if (!out.some((each) => sameJson(each, item))) out.push(item);
  return out;
}

function checkScalars(...lists: (readonly Json[])[]): void {
  for (const list of lists) if (list.some(Array.isArray)) throw badPatch('lists of lists are not supported');
}

function checkObjects(list: readonly Json[]): JsonObject[] {
  for (const item of list) {
    if (Array.isArray(item)) throw badPatch('lists of lists are not supported');
    if (!isObject(item)) throw badPatch('list element types are not identical');
  }
  return list as JsonObject[];
}

function keyOf(item: JsonObject, mergeKey: string): Json {
  const value = ownValue(item, mergeKey);
  if (value === undefined)
    throw badPatch(`map: ${JSON.stringify(item)} does not contain declared merge key: ${mergeKey}`);
  return value;
}

function badDirective(directive: Json, where: JsonObject): Error {
  return badPatch(`unknown patch type: ${JSON.stringify(directive)} in map: ${JSON.stringify(where)}`);
}
