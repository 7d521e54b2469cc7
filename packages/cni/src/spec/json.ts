import { CniCode, CniError } from './errors.ts';

/** A decoded JSON object whose members have not been checked. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * A member by name, letter case ignored when no member has exactly that name; `null` counts as absent.
 *
 * Go's decoder works so, and containerd relies on it: it sends `HostPort`, `IngressRate` and `Servers` where the
 * conventions say `hostPort`, `ingressRate` and `servers`.
 */
export function field(object: JsonObject, name: string): unknown {
  if (Object.hasOwn(object, name)) return object[name] ?? undefined;
  const wanted = name.toLowerCase();
  for (const key of Object.keys(object)) if (key.toLowerCase() === wanted) return object[key] ?? undefined;
  return undefined;
}

function wrong(path: string, expected: string, value: unknown): CniError {
  return new CniError(CniCode.decode, `${path}: expected ${expected}, got ${JSON.stringify(value)}`);
}

/** A text member; absent stays undefined. `path` names it in errors. */
export function stringField(object: JsonObject, name: string, path: string = name): string | undefined {
  const value = field(object, name);
  if (value === undefined || typeof value === 'string') return value;
  throw wrong(path, 'a string', value);
}

export function numberField(object: JsonObject, name: string, path: string = name): number | undefined {
  const value = field(object, name);
  if (value === undefined || (typeof value === 'number' && Number.isFinite(value))) return value;
  throw wrong(path, 'a number', value);
}

/** A boolean member; libcni also takes the texts "true" and "false". */
export function booleanField(object: JsonObject, name: string, path: string = name): boolean | undefined {
  const value = field(object, name);
  if (value === undefined || typeof value === 'boolean') return value;
  if (typeof value === 'string' && /^(true|false)$/i.test(value)) return value.toLowerCase() === 'true';
  throw wrong(path, 'a boolean', value);
}

export function objectField(object: JsonObject, name: string, path: string = name): JsonObject | undefined {
  const value = field(object, name);
  if (value === undefined || isObject(value)) return value;
  throw wrong(path, 'an object', value);
}

export function arrayField(object: JsonObject, name: string, path: string = name): readonly unknown[] | undefined {
  const value = field(object, name);
  if (value === undefined || Array.isArray(value)) return value;
  throw wrong(path, 'a list', value);
}

export function stringsField(object: JsonObject, name: string, path: string = name): readonly string[] | undefined {
  return arrayField(object, name, path)?.map((item, i) => {
    if (typeof item !== 'string') throw wrong(`${path}[${i}]`, 'a string', item);
    return item;
  });
}

/** A list of objects, each with the path that names it in errors. */
export function objectsField(
  object: JsonObject,
  name: string,
  path: string = name,
): readonly { readonly value: JsonObject; readonly path: string }[] | undefined {
  return arrayField(object, name, path)?.map((item, i) => {
    if (!isObject(item)) throw wrong(`${path}[${i}]`, 'an object', item);
    return { value: item, path: `${path}[${i}]` };
  });
}

/** Parses JSON text that must be an object. */
export function parseObject(text: string, what: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new CniError(CniCode.decode, `${what} is not valid JSON`, error instanceof Error ? error.message : undefined);
  }
  if (!isObject(value)) throw new CniError(CniCode.decode, `${what} is not a JSON object`);
  return value;
}
