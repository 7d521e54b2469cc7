import { type KubeObject, parseApiVersion, statusErrors } from '@weft/kube';
import { type Schema, unknownFields } from '../crd/structural.ts';
import { checkFields, type FieldCheck } from '../schema/index.ts';
import { type TypeExpr, typeOf } from '../schema/types.ts';
import type { AnyObject } from '../store/stored.ts';
import { duplicateFields } from './duplicates.ts';
import type { CustomKind, Resource } from './resource.ts';
import { isRecord } from './json.ts';

export type FieldValidation = 'Ignore' | 'Warn' | 'Strict';

/** A body kind that is not a stored resource (Scale, Eviction, TokenRequest, …) is checked by its type alone. */
export interface BodyType {
  readonly apiVersion: string;
  readonly kind: string;
  readonly typeName: string | undefined;
  readonly custom?: CustomKind | undefined;
}

export const bodyTypeOf = (resource: Resource): BodyType => ({
  apiVersion: resource.apiVersion,
  kind: resource.api.kind,
  typeName: resource.typeName,
  custom: resource.custom,
});

/**
 * Checks a decoded body against the kind that the URL asks for, reports or refuses unknown fields as asked, and drops
 * them. `text` is the JSON text, if there was one. Throws 400 in the words of kube-apiserver.
 */
export function decodeObject(
  value: unknown,
  type: BodyType,
  validation: FieldValidation,
  warnings: string[],
  text?: string,
): AnyObject {
  if (!isRecord(value)) {
    throw statusErrors.badRequest(
      'couldn\'t get version/kind; json parse error: json: cannot unmarshal into Go value of type struct { APIVersion string "json:\\"apiVersion,omitempty\\""; Kind string "json:\\"kind,omitempty\\"" }',
    );
  }
  // The URL says what an absent apiVersion or kind would.
  const kind = textOr(value.kind, type.kind);
  const apiVersion = textOr(value.apiVersion, type.apiVersion);
  if (apiVersion !== type.apiVersion) {
    throw statusErrors.badRequest(
      `the API version in the data (${apiVersion}) does not match the expected API version (${type.apiVersion})`,
    );
  }
  const cannot = (why: string): Error =>
    statusErrors.badRequest(
      `${kind} in version "${parseApiVersion(apiVersion).version}" cannot be handled as a ${type.kind}: ${why}`,
    );
  if (kind !== type.kind)
    throw cannot(`the kind in the data (${kind}) does not match the expected kind (${type.kind})`);

  const duplicates = validation !== 'Ignore' && text !== undefined ? duplicateFields(text) : [];
  const { unknown, typeErrors } = checkBody(value, type, validation);
  if (typeErrors[0] !== undefined) throw cannot(typeErrors[0]);
  report([...unknown, ...duplicates], validation, warnings, (problems) => cannot(`strict decoding error: ${problems}`));
  pruneBody(value, type);
  const { metadata } = value;
  return {
    ...value,
    kind,
    apiVersion,
    metadata: (isRecord(metadata) ? metadata : {}) as unknown as KubeObject['metadata'],
  };
}

/** What of an object does not fit its type. The values of a custom resource are looked at by its validation. */
export function checkBody(value: unknown, type: BodyType, validation: FieldValidation): FieldCheck {
  if (type.typeName !== undefined) return checkFields(type.typeName, value, validation);
  if (type.custom === undefined || !isRecord(value)) return { unknown: [], typeErrors: [] };
  const meta = checkFields(OBJECT_META, value.metadata, validation);
  const unknown = meta.unknown.map((u) => u.replace('"', '"metadata.'));
  if (validation !== 'Ignore' && !type.custom.open) unknown.push(...unknownFields(value, type.custom.schema as Schema));
  return { unknown, typeErrors: meta.typeErrors };
}

/** Drops, in place, what the type does not have. A custom resource is pruned by its strategy. */
export function pruneBody(value: unknown, type: BodyType): void {
  if (type.typeName !== undefined) prune(value, type.typeName);
  else if (type.custom !== undefined && isRecord(value)) prune(value.metadata, OBJECT_META);
}

const OBJECT_META = 'io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta';

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

/** Refuses (`Strict`) or reports (`Warn`) problems that do not make an object unusable. */
export function report(
  problems: readonly string[],
  validation: FieldValidation,
  warnings: string[],
  refuse: (problems: string) => Error,
): void {
  if (problems.length === 0 || validation === 'Ignore') return;
  if (validation === 'Strict') throw refuse(problems.join(', '));
  warnings.push(...problems);
}

/**
 * Drops, in place, fields that the type does not have, and what Go takes for "not given": nulls, and empty lists and
 * maps (`omitempty`).
 */
function prune(value: unknown, typeName: string): void {
  pruneValue(value, { kind: 'ref', type: typeName });
}

function pruneValue(value: unknown, expr: TypeExpr): void {
  if (typeof value !== 'object' || value === null) return;
  if (Array.isArray(value)) {
    if (expr.kind === 'array') for (const item of value) pruneValue(item, expr.of);
    return;
  }
  const record = value as Record<string, unknown>;
  if (expr.kind === 'map') {
    for (const key of Object.keys(record)) {
      if (record[key] === null) {
        if (expr.of.kind === 'string') record[key] = '';
        else delete record[key];
      } else pruneValue(record[key], expr.of);
    }
    return;
  }
  if (expr.kind !== 'ref') return;
  const type = typeOf(expr.type);
  // Types without listed fields hold anything (RawExtension, FieldsV1, JSON).
  if (type?.fields === undefined || type.fields.size === 0) return;
  for (const key of Object.keys(record)) {
    const field = type.fields.get(key);
    const inner = record[key];
    if (field === undefined || inner === null) delete record[key];
    else {
      pruneValue(inner, field.expr);
      // An empty list of managed fields is a request: to forget them.
      if (!field.required && key !== 'managedFields' && isEmptyCollection(inner, field.expr)) delete record[key];
    }
  }
}

function isEmptyCollection(value: unknown, expr: TypeExpr): boolean {
  if (expr.kind === 'array') return Array.isArray(value) && value.length === 0;
  return expr.kind === 'map' && isRecord(value) && Object.keys(value).length === 0;
}
