import type { ApiResource } from '../contract.ts';
import { type Field, type ObjectType, type TypeExpr, typeNames, typeOf } from '../schema/types.ts';
import { ProtoWriter } from './proto-writer.ts';

/** The media type that kubectl up to 1.28 insists on; the JSON form of the document is not served. */
export const OPENAPI_V2_PROTO = 'application/com.github.proto-openapi.spec.v2@v1.0+protobuf';
/** What the answer is called: `@` must not stand in a media type, and clients that parse it refuse it. */
export const OPENAPI_V2_PROTO_ANSWER = OPENAPI_V2_PROTO.replace('@', '.');

const GVK = 'x-kubernetes-group-version-kind';

/**
 * The OpenAPI v2 document in the protobuf form of github.com/google/gnostic (openapiv2/OpenAPIv2.proto), with what
 * kubectl reads of it: which PATCH takes `fieldValidation` (before an apply), and the types with their patch keys (for
 * merging and for `explain`).
 */
export function openapiV2(resources: readonly ApiResource[]): Buffer {
  const info = new ProtoWriter().string(1, 'Kubernetes').string(2, 'v1.33.0');
  const document = new ProtoWriter().string(1, '2.0').message(2, info).message(8, paths(resources));
  const definitions = new ProtoWriter();
  for (const name of typeNames()) {
    const type = typeOf(name);
    if (type !== undefined) definitions.message(1, named(name, definition(type)));
  }
  return document.message(9, definitions).bytes();
}

function named(name: string, value: ProtoWriter): ProtoWriter {
  return new ProtoWriter().string(1, name).message(2, value);
}

/** NamedAny: a vendor extension, whose value is YAML (JSON is YAML). */
function extension(name: string, value: unknown): ProtoWriter {
  return named(name, new ProtoWriter().string(2, JSON.stringify(value)));
}

function paths(resources: readonly ApiResource[]): ProtoWriter {
  const out = new ProtoWriter();
  for (const r of resources) {
    if (!r.verbs.includes('patch')) continue;
    const root = r.group === '' ? `/api/${r.version}` : `/apis/${r.group}/${r.version}`;
    const path = `${root}${r.namespaced ? '/namespaces/{namespace}' : ''}/${r.plural}/{name}`;
    const patch = new ProtoWriter();
    for (const name of ['dryRun', 'fieldManager', 'fieldValidation', 'force']) patch.message(8, queryParameter(name));
    patch.message(13, extension(GVK, { group: r.group, kind: r.kind, version: r.version }));
    out.message(2, named(path, new ProtoWriter().message(8, patch)));
  }
  return out;
}

/** ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema. */
function queryParameter(name: string): ProtoWriter {
  const query = new ProtoWriter()
    .string(2, 'query')
    .string(4, name)
    .string(6, name === 'force' ? 'boolean' : 'string');
  return new ProtoWriter().message(1, new ProtoWriter().message(2, new ProtoWriter().message(3, query)));
}

function definition(type: ObjectType): ProtoWriter {
  const schema = new ProtoWriter();
  if (type.fields === undefined) {
    if (type.alias !== undefined) writeExpr(schema, type.alias);
    return schema;
  }
  for (const [name, field] of type.fields) if (field.required) schema.string(19, name);
  writeType(schema, 'object');
  if (type.fields.size > 0) {
    const properties = new ProtoWriter();
    for (const [name, field] of type.fields) properties.message(1, named(name, property(field)));
    schema.message(25, properties);
  }
  if (type.gvks.length > 0) {
    schema.message(
      31,
      extension(
        GVK,
        type.gvks.map(({ group, version, kind }) => ({ group, kind, version })),
      ),
    );
  }
  if (type.atomic) schema.message(31, extension('x-kubernetes-map-type', 'atomic'));
  return schema;
}

function property(field: Field): ProtoWriter {
  const schema = new ProtoWriter();
  writeExpr(schema, field.expr);
  const extensions: [name: string, value: unknown][] = [
    ['x-kubernetes-list-type', field.list],
    ['x-kubernetes-list-map-keys', field.keys],
    ['x-kubernetes-map-type', field.map],
    ['x-kubernetes-patch-merge-key', field.mergeKey],
    ['x-kubernetes-patch-strategy', field.strategy],
  ];
  for (const [name, value] of extensions) if (value !== undefined) schema.message(31, extension(name, value));
  return schema;
}

function writeType(schema: ProtoWriter, type: string): void {
  schema.message(22, new ProtoWriter().string(1, type));
}

function writeExpr(schema: ProtoWriter, expr: TypeExpr): void {
  switch (expr.kind) {
    case 'ref':
      schema.string(1, `#/definitions/${expr.type}`);
      break;
    case 'array':
      writeType(schema, 'array');
      schema.message(23, new ProtoWriter().message(1, nested(expr.of)));
      break;
    case 'map':
      schema.message(21, new ProtoWriter().message(1, nested(expr.of)));
      writeType(schema, 'object');
      break;
    case 'int32':
    case 'int64':
      schema.string(2, expr.kind);
      writeType(schema, 'integer');
      break;
    case 'double':
      schema.string(2, 'double');
      writeType(schema, 'number');
      break;
    case 'bytes':
      schema.string(2, 'byte');
      writeType(schema, 'string');
      break;
    case 'int-or-string':
      schema.string(2, 'int-or-string');
      writeType(schema, 'string');
      break;
    case 'any':
      break;
    default:
      writeType(schema, expr.kind);
  }
}

function nested(expr: TypeExpr): ProtoWriter {
  const schema = new ProtoWriter();
  writeExpr(schema, expr);
  return schema;
}
