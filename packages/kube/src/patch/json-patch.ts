import { badPatch, failedPatch } from './errors.ts';
import { isObject, type Json, type JsonObject, ownValue, sameJson, setKey } from './json-value.ts';

/** One operation of a JSON patch (RFC 6902). */
export type JsonPatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly from: string; readonly path: string };

/** kube-apiserver's limit. */
const MAX_OPERATIONS = 10_000;

/**
 * Applies a JSON patch (RFC 6902). Either all operations apply or it throws PatchError; the input is not changed.
 * Messages are those of the API server's JSON patch library.
 */
export function applyJsonPatch(target: Json, patch: unknown): Json {
  if (!Array.isArray(patch)) throw badPatch('json: cannot unmarshal object into Go value of type jsonpatch.Patch');
  if (patch.length > MAX_OPERATIONS) {
    throw failedPatch(`The allowed maximum operations in a JSON patch is ${MAX_OPERATIONS}, got ${patch.length}`);
  }
  let document = target;
  for (const operation of patch) document = applyOne(document, checkOperation(operation));
  return document;
}

function checkOperation(value: unknown): JsonPatchOperation {
  const operation = value as Partial<Record<'op' | 'path' | 'from', unknown>> | null;
  if (typeof operation !== 'object' || operation === null)
    throw badPatch('Invalid patch: an operation is not an object');
  const { op, path } = operation;
  if (typeof op !== 'string' || !['add', 'remove', 'replace', 'move', 'copy', 'test'].includes(op)) {
    throw failedPatch(`Unexpected kind: ${typeof op === 'string' ? op : 'unknown'}`);
  }
  if (typeof path !== 'string') throw badPatch(`${op} operation failed to decode path: missing value`);
  if ((op === 'move' || op === 'copy') && typeof operation.from !== 'string') {
    throw badPatch(`${op} operation failed to decode from: missing value`);
  }
  if ((op === 'add' || op === 'replace' || op === 'test') && !Object.hasOwn(operation, 'value')) {
    throw badPatch(`${op} operation missing value field`);
  }
  return operation as JsonPatchOperation;
}

function applyOne(document: Json, operation: JsonPatchOperation): Json {
  const path = parsePointer(operation.path);
  switch (operation.op) {
    case 'add':
      return add(document, path, operation.path, operation.value);
    case 'remove':
      return remove(document, path, operation.path);
    case 'replace':
      if (path.length === 0) return operation.value;
      return edit(document, path, operation.path, 'replace', (parent, key) => {
        if (Array.isArray(parent)) {
          const index = existingIndex(parent, key, operation.path, 'replace');
          return parent.with(index, operation.value);
        }
        if (!Object.hasOwn(parent, key)) {
          throw failedPatch(`replace operation does not apply: doc is missing key: ${operation.path}: missing value`);
        }
        return withKey(parent, key, operation.value);
      });
    case 'test': {
      const actual = find(document, path);
      if (actual === undefined || !sameJson(actual, operation.value)) {
        throw failedPatch(`testing value ${operation.path} failed: test failed`);
      }
      return document;
    }
    case 'copy':
      return add(document, path, operation.path, source(document, operation));
    default: {
      if (operation.path.startsWith(`${operation.from}/`)) {
        throw failedPatch(`move operation does not apply: ${operation.from} cannot be moved into one of its children`);
      }
      const value = source(document, operation);
      if (operation.path === operation.from) return document;
      const without = remove(document, parsePointer(operation.from), operation.from);
      return add(without, path, operation.path, value);
    }
  }
}

function source(document: Json, operation: { op: 'move' | 'copy'; from: string }): Json {
  const value = find(document, parsePointer(operation.from));
  if (value === undefined) {
    throw failedPatch(
      `${operation.op} operation does not apply: doc is missing from path: ${operation.from}: missing value`,
    );
  }
  return value;
}

function add(document: Json, path: readonly string[], text: string, value: Json): Json {
  if (path.length === 0) return value;
  return edit(document, path, text, 'add', (parent, key) => {
    if (!Array.isArray(parent)) return withKey(parent, key, value);
    const index = key === '-' ? parent.length : arrayIndex(key, text, 'add');
    if (index > parent.length) throw outOfRange('add', text, key);
    return parent.toSpliced(index, 0, value);
  });
}

function remove(document: Json, path: readonly string[], text: string): Json {
  if (path.length === 0) throw failedPatch('remove operation does not apply: the whole document cannot be removed');
  return edit(document, path, text, 'remove', (parent, key) => {
    if (Array.isArray(parent)) return parent.toSpliced(existingIndex(parent, key, text, 'remove'), 1);
    if (!Object.hasOwn(parent, key)) {
      throw failedPatch(`error in remove for path: '${text}': unable to remove nonexistent key: ${key}: missing value`);
    }
    const { [key]: _removed, ...rest } = parent;
    return rest;
  });
}

/** Copies the containers along `path` and lets `change` make a new last one. */
function edit(
  container: Json,
  path: readonly string[],
  text: string,
  op: string,
  change: (parent: Json[] | JsonObject, key: string) => Json,
): Json {
  const [key = '', ...rest] = path;
  if (!Array.isArray(container) && !isObject(container)) throw missingPath(op, text);
  if (rest.length === 0) return change(container, key);
  if (Array.isArray(container)) {
    const index = existingIndex(container, key, text, op);
    return container.with(index, edit(container[index] as Json, rest, text, op, change));
  }
  const child = ownValue(container, key);
  if (child === undefined) throw missingPath(op, text);
  return withKey(container, key, edit(child, rest, text, op, change));
}

function find(document: Json, path: readonly string[]): Json | undefined {
  let value: Json | undefined = document;
  for (const key of path) {
    if (Array.isArray(value)) value = /^(0|[1-9]\d*)$/.test(key) ? value[Number(key)] : undefined;
    else if (isObject(value)) value = ownValue(value, key);
    else return undefined;
  }
  return value;
}

function withKey(object: JsonObject, key: string, value: Json): JsonObject {
  const out = { ...object };
  setKey(out, key, value);
  return out;
}

/** RFC 6901: `~1` is a slash and `~0` a tilde. */
function parsePointer(pointer: string): string[] {
  if (pointer === '') return [];
  if (!pointer.startsWith('/')) throw failedPatch(`the JSON pointer "${pointer}" does not start with "/"`);
  return pointer
    .slice(1)
    .split('/')
    .map((part) => part.replaceAll('~1', '/').replaceAll('~0', '~'));
}

function arrayIndex(key: string, text: string, op: string): number {
  if (!/^(0|[1-9]\d*)$/.test(key)) {
    throw failedPatch(`${op} operation does not apply: the array index "${key}" in path "${text}" is not a number`);
  }
  return Number(key);
}

function existingIndex(list: readonly Json[], key: string, text: string, op: string): number {
  const index = arrayIndex(key, text, op);
  if (index >= list.length) throw outOfRange(op, text, key);
  return index;
}

function outOfRange(op: string, text: string, key: string): Error {
  return failedPatch(
    `error in ${op} for path: '${text}': Unable to access invalid index: ${key}: invalid index referenced`,
  );
}

function missingPath(op: string, text: string): Error {
  return failedPatch(`${op} operation does not apply: doc is missing path: "${text}": missing value`);
}
