import { clone, isRecord } from '../registry/json.ts';

/** An `openAPIV3Schema`, as far as it has been looked at. */
export type Schema = Readonly<Record<string, unknown>>;

const OBJECT_FIELDS = new Set(['apiVersion', 'kind', 'metadata']);

const schemaAt = (value: unknown): Schema => (isRecord(value) ? value : {});

/** The schema of a field; undefined when the schema does not know it. */
function fieldSchema(schema: Schema, name: string): Schema | undefined {
  const { properties, additionalProperties: more } = schema;
  if (isRecord(properties) && Object.hasOwn(properties, name)) return schemaAt(properties[name]);
  if (isRecord(more)) return more;
  return more === true ? {} : undefined;
}

const isOpen = (schema: Schema): boolean => schema['x-kubernetes-preserve-unknown-fields'] === true;
const isMapLike = (schema: Schema): boolean => isRecord(schema.properties) || schema.additionalProperties !== undefined;

/** The fields that a structural schema does not know, as `unknown field "spec.foo"`. */
export function unknownFields(value: unknown, schema: Schema): string[] {
  const out: string[] = [];
  visitUnknown(value, schema, '', true, (path) => out.push(`unknown field "${path}"`));
  return out;
}

/** Drops, in place, the fields that a structural schema does not know (apiextensions pruning). */
export function pruneUnknown(value: unknown, schema: Schema): void {
  visitUnknown(value, schema, '', true, (_path, object, name) => delete object[name]);
}

function visitUnknown(
  value: unknown,
  schema: Schema,
  path: string,
  root: boolean,
  found: (path: string, object: Record<string, unknown>, name: string) => void,
): void {
  if (Array.isArray(value)) {
    const items = schemaAt(schema.items);
    value.forEach((item, i) => visitUnknown(item, items, `${path}[${i}]`, false, found));
    return;
  }
  if (!isRecord(value)) return;
  const embedded = root || schema['x-kubernetes-embedded-resource'] === true;
  // Without any word about fields, none is known, unless the schema says that all are.
  const open = isOpen(schema) || (!isMapLike(schema) && schema.type !== 'object' && schema.type !== undefined);
  for (const name of Object.keys(value)) {
    if (embedded && OBJECT_FIELDS.has(name)) continue;
    const at = path === '' ? name : `${path}.${name}`;
    const inner = fieldSchema(schema, name);
    if (inner !== undefined) visitUnknown(value[name], inner, at, false, found);
    else if (!open) found(at, value, name);
  }
}

/** Fills in, in place, the defaults of a structural schema. */
export function applyDefaults(value: unknown, schema: Schema): void {
  if (Array.isArray(value)) {
    for (const item of value) applyDefaults(item, schemaAt(schema.items));
    return;
  }
  if (!isRecord(value)) return;
  if (isRecord(schema.properties)) {
    for (const [name, inner] of Object.entries(schema.properties)) {
      const field = schemaAt(inner);
      if (value[name] === null && field.nullable !== true) delete value[name];
      if (value[name] === undefined && field.default !== undefined) value[name] = clone(field.default);
    }
  }
  for (const [name, child] of Object.entries(value)) {
    const inner = fieldSchema(schema, name);
    if (inner !== undefined) applyDefaults(child, inner);
  }
}
