import { type Field, type TypeExpr, typeOf } from '../schema/types.ts';
import { isRecord } from '../registry/json.ts';

/** How a value is owned: as a whole, field by field, or item by item. */
export type Shape =
  | { readonly kind: 'leaf' }
  | { readonly kind: 'struct'; readonly field: (name: string) => Shape | undefined }
  | { readonly kind: 'map'; readonly of: Shape }
  | { readonly kind: 'set' }
  | { readonly kind: 'items'; readonly keys: readonly string[]; readonly of: Shape };

const LEAF: Shape = { kind: 'leaf' };
/** A value without a schema: objects by field, lists as a whole (structured-merge-diff's deduced type). */
export const DEDUCED: Shape = { kind: 'struct', field: () => DEDUCED };

const structs = new Map<string, Shape>();

/** The shape of a published type. */
export function shapeOfType(typeName: string): Shape {
  let shape = structs.get(typeName);
  if (shape !== undefined) return shape;
  const type = typeOf(typeName);
  if (type?.fields === undefined || type.atomic || type.fields.size === 0) {
    shape = type?.alias?.kind === 'object' && !type.atomic ? DEDUCED : LEAF;
  } else {
    const known = new Map<string, Shape>();
    const { fields } = type;
    shape = {
      kind: 'struct',
      field: (name) => {
        const field = fields.get(name);
        if (field === undefined) return undefined;
        let inner = known.get(name);
        if (inner === undefined) {
          inner = shapeOfField(field);
          known.set(name, inner);
        }
        return inner;
      },
    };
  }
  structs.set(typeName, shape);
  return shape;
}

function shapeOfField(field: Field): Shape {
  if (field.map === 'atomic') return LEAF;
  if (field.expr.kind === 'array') {
    if (field.list === 'set') return { kind: 'set' };
    if (field.list === 'map') return { kind: 'items', keys: field.keys ?? [], of: shapeOfExpr(field.expr.of) };
    return LEAF;
  }
  return shapeOfExpr(field.expr);
}

function shapeOfExpr(expr: TypeExpr): Shape {
  switch (expr.kind) {
    case 'ref':
      return shapeOfType(expr.type);
    case 'map':
      return { kind: 'map', of: shapeOfExpr(expr.of) };
    case 'object':
      return DEDUCED;
    default:
      return LEAF;
  }
}

/** The shape of a CustomResourceDefinition's schema; `metadata` is as everywhere. */
export function shapeOfSchema(schema: unknown, root = true): Shape {
  if (!isRecord(schema)) return DEDUCED;
  const { type, properties, additionalProperties: more, items } = schema;
  if (type === 'array') {
    const list = schema['x-kubernetes-list-type'];
    if (list === 'set') return { kind: 'set' };
    if (list !== 'map') return LEAF;
    const keys = (schema['x-kubernetes-list-map-keys'] ?? []) as string[];
    return { kind: 'items', keys, of: shapeOfSchema(items, false) };
  }
  if (schema['x-kubernetes-map-type'] === 'atomic') return LEAF;
  if (schema['x-kubernetes-preserve-unknown-fields'] === true && !isRecord(properties)) return DEDUCED;
  if (isRecord(more)) return { kind: 'map', of: shapeOfSchema(more, false) };
  if (!isRecord(properties)) return type === 'object' ? DEDUCED : LEAF;
  const known = new Map<string, Shape>();
  const open = schema['x-kubernetes-preserve-unknown-fields'] === true;
  return {
    kind: 'struct',
    field: (name) => {
      if (root && name === 'metadata') return shapeOfType('io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta');
      if (root && (name === 'apiVersion' || name === 'kind')) return LEAF;
      if (!Object.hasOwn(properties, name)) return open ? DEDUCED : undefined;
      let inner = known.get(name);
      if (inner === undefined) {
        inner = shapeOfSchema(properties[name], false);
        known.set(name, inner);
      }
      return inner;
    },
  };
}
