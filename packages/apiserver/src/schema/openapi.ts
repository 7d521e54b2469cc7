import { createHash } from 'node:crypto';
import type { ApiResource, ApiSubresource } from '../contract.ts';
import { DESCRIPTORS, TYPES } from '../generated/openapi.ts';
import { RESOURCES } from '../generated/resources.ts';
import { describe } from './descriptions.ts';
import { resources } from './resources.ts';
import { type Field, gvkType, type ObjectType, type TypeExpr, typeNames, typeOf } from './types.ts';

type Json = Record<string, unknown>;

const gvPath = (r: { group: string; version: string }): string =>
  r.group === '' ? `api/${r.version}` : `apis/${r.group}/${r.version}`;

let hash: string | undefined;

/** Body of GET /openapi/v3: where the document of each group and version is. */
export function openapiV3Index(): { paths: Record<string, { serverRelativeURL: string }> } {
  hash ??= createHash('sha256')
    .update(TYPES)
    .update(DESCRIPTORS)
    .update(RESOURCES)
    .digest('hex')
    .slice(0, 32)
    .toUpperCase();
  const paths: Record<string, { serverRelativeURL: string }> = {};
  for (const r of resources) paths[gvPath(r)] ??= { serverRelativeURL: `/openapi/v3/${gvPath(r)}?hash=${hash}` };
  return { paths };
}

const ref = (name: string): string => `#/components/schemas/${name}`;

function schemaOf(expr: TypeExpr, seen: Set<string>): Json {
  switch (expr.kind) {
    case 'string':
    case 'boolean':
    case 'object':
      return { type: expr.kind };
    case 'any':
      return {};
    case 'int32':
    case 'int64':
      return { type: 'integer', format: expr.kind };
    case 'double':
      return { type: 'number', format: 'double' };
    case 'bytes':
      return { type: 'string', format: 'byte' };
    case 'int-or-string':
      return { oneOf: [{ type: 'integer' }, { type: 'string' }], format: 'int-or-string' };
    case 'array':
      return { type: 'array', items: schemaOf(expr.of, seen) };
    case 'map':
      return { type: 'object', additionalProperties: schemaOf(expr.of, seen) };
    case 'ref':
      seen.add(expr.type);
      return { $ref: ref(expr.type) };
  }
}

function fieldSchema(owner: ObjectType, name: string, field: Field, seen: Set<string>): Json {
  const short = owner.name.slice(owner.name.lastIndexOf('.') + 1);
  const description = describe(`${short}.${name}`) ?? describe(`*.${name}`);
  const base = schemaOf(field.expr, seen);
  return {
    ...(description === undefined ? {} : { description }),
    // A $ref may not have siblings (OpenAPI 3.0), so a described reference is wrapped as Kubernetes does it.
    ...(base.$ref === undefined ? base : { allOf: [base], default: {} }),
    ...(field.list === undefined ? {} : { 'x-kubernetes-list-type': field.list }),
    ...(field.keys === undefined ? {} : { 'x-kubernetes-list-map-keys': field.keys }),
    ...(field.mergeKey === undefined ? {} : { 'x-kubernetes-patch-merge-key': field.mergeKey }),
    ...(field.strategy === undefined ? {} : { 'x-kubernetes-patch-strategy': field.strategy }),
    ...(field.map === undefined ? {} : { 'x-kubernetes-map-type': field.map }),
  };
}

function typeSchema(type: ObjectType, seen: Set<string>): Json {
  const short = type.name.slice(type.name.lastIndexOf('.') + 1);
  const description = describe(short);
  const head = description === undefined ? {} : { description };
  if (type.fields === undefined) {
    const alias = type.alias ?? { kind: 'any' };
    const isTime = short === 'Time' || short === 'MicroTime';
    if (short === 'Quantity') return { ...head, oneOf: [{ type: 'string' }, { type: 'number' }] };
    return { ...head, ...schemaOf(alias, seen), ...(isTime ? { format: 'date-time' } : {}) };
  }
  const properties: Json = {};
  const required: string[] = [];
  for (const [name, field] of type.fields) {
    properties[name] = fieldSchema(type, name, field, seen);
    if (field.required) required.push(name);
  }
  return {
    ...head,
    type: 'object',
    ...(required.length === 0 ? {} : { required }),
    properties,
    ...(type.gvks.length === 0 ? {} : { 'x-kubernetes-group-version-kind': type.gvks }),
    ...(type.atomic ? { 'x-kubernetes-map-type': 'atomic' } : {}),
  };
}

const query = (name: string, type: 'string' | 'boolean' | 'integer' = 'string'): Json => ({
  name,
  in: 'query',
  schema: { type, uniqueItems: true },
});
const inPath = (name: string): Json => ({
  name,
  in: 'path',
  required: true,
  schema: { type: 'string', uniqueItems: true },
});

const READ_TYPES = ['application/json', 'application/yaml'];
const LIST_QUERIES = [
  query('allowWatchBookmarks', 'boolean'),
  query('continue'),
  query('fieldSelector'),
  query('labelSelector'),
  query('limit', 'integer'),
  query('resourceVersion'),
  query('resourceVersionMatch'),
  query('sendInitialEvents', 'boolean'),
  query('timeoutSeconds', 'integer'),
  query('watch', 'boolean'),
];
const WRITE_QUERIES = [query('dryRun'), query('fieldManager'), query('fieldValidation')];
const DELETE_QUERIES = [
  query('dryRun'),
  query('gracePeriodSeconds', 'integer'),
  query('orphanDependents', 'boolean'),
  query('propagationPolicy'),
];
const PATCH_TYPES = [
  'application/apply-patch+yaml',
  'application/json-patch+json',
  'application/merge-patch+json',
  'application/strategic-merge-patch+json',
];

interface Target {
  readonly gvk: { readonly group: string; readonly version: string; readonly kind: string };
  readonly type: string | undefined;
  readonly listType: string | undefined;
}

const content = (types: readonly string[], type: string | undefined): Json =>
  Object.fromEntries(types.map((t) => [t, type === undefined ? {} : { schema: { $ref: ref(type) } }]));

function operation(action: string, target: Target, parameters: readonly Json[], result: string | undefined): Json {
  const patchType = 'io.k8s.apimachinery.pkg.apis.meta.v1.Patch';
  const body =
    action === 'patch'
      ? { requestBody: { required: true, content: content(PATCH_TYPES, patchType) } }
      : action === 'post' || action === 'put'
        ? { requestBody: { required: true, content: content(['*/*'], target.type) } }
        : {};
  return {
    parameters,
    ...body,
    responses: { '200': { description: 'OK', content: content(READ_TYPES, result) } },
    'x-kubernetes-action': action,
    'x-kubernetes-group-version-kind': target.gvk,
  };
}

const METHODS: Readonly<Record<string, readonly [string, string, readonly Json[]]>> = {
  get: ['get', 'get', []],
  update: ['put', 'put', WRITE_QUERIES],
  patch: ['patch', 'patch', [...WRITE_QUERIES, query('force', 'boolean')]],
  delete: ['delete', 'delete', DELETE_QUERIES],
  create: ['post', 'post', WRITE_QUERIES],
  list: ['get', 'list', LIST_QUERIES],
  deletecollection: ['delete', 'deletecollection', [...DELETE_QUERIES, ...LIST_QUERIES]],
};

function operations(verbs: readonly string[], wanted: readonly string[], target: Target): Json {
  const out: Json = {};
  for (const verb of wanted) {
    const method = METHODS[verb];
    if (method === undefined || !verbs.includes(verb)) continue;
    const status = 'io.k8s.apimachinery.pkg.apis.meta.v1.Status';
    const result =
      verb === 'list' ? target.listType : verb === 'delete' || verb === 'deletecollection' ? status : target.type;
    out[method[0]] = operation(method[1], target, method[2], result);
  }
  return out;
}

function addPaths(paths: Json, r: ApiResource): void {
  const target: Target = {
    gvk: { group: r.group, version: r.version, kind: r.kind },
    type: gvkType(r.group, r.version, r.kind),
    listType: gvkType(r.group, r.version, `${r.kind}List`),
  };
  const root = `/${gvPath(r)}`;
  const base = r.namespaced ? `${root}/namespaces/{namespace}/${r.plural}` : `${root}/${r.plural}`;
  const scope = r.namespaced ? [inPath('namespace')] : [];
  paths[base] = { ...operations(r.verbs, ['list', 'create', 'deletecollection'], target), parameters: scope };
  const one = operations(r.verbs, ['get', 'update', 'patch', 'delete'], target);
  if (Object.keys(one).length > 0) paths[`${base}/{name}`] = { ...one, parameters: [inPath('name'), ...scope] };
  if (r.namespaced && r.verbs.includes('list')) paths[`${root}/${r.plural}`] = operations(r.verbs, ['list'], target);
  for (const sub of r.subresources) {
    const verbs = operations(sub.verbs, ['get', 'create', 'update', 'patch', 'delete'], subTarget(r, sub));
    paths[`${base}/{name}/${sub.name}`] = { ...verbs, parameters: [inPath('name'), ...scope] };
  }
}

function subTarget(r: ApiResource, sub: ApiSubresource): Target {
  const gvk = { group: sub.group ?? r.group, version: sub.version ?? r.version, kind: sub.kind };
  return { gvk, type: gvkType(gvk.group, gvk.version, gvk.kind), listType: undefined };
}

/**
 * The OpenAPI v3 document of one group and version (`api/v1`, `apis/apps/v1`), made from the tables on demand: enough for
 * `kubectl explain`, for apply's patch keys, and for the probe that finds `fieldValidation`. Undefined when not served.
 */
export function openapiV3(path: string): Buffer | undefined {
  const served = resources.filter((r) => gvPath(r) === path);
  if (served.length === 0) return undefined;
  const paths: Json = {};
  for (const r of served) addPaths(paths, r);
  const schemas: Json = {};
  const todo = new Set<string>();
  for (const name of typeNames()) {
    const own = typeOf(name)?.gvks.some((k) => served.some((r) => r.group === k.group && r.version === k.version));
    if (own === true && !name.includes('.meta.')) todo.add(name);
  }
  for (const text of JSON.stringify(paths).matchAll(/"#\/components\/schemas\/([^"]+)"/g)) todo.add(text[1] ?? '');
  // The set grows while it is walked: references found in one schema are visited after it.
  for (const name of todo) {
    const type = typeOf(name);
    if (type !== undefined) schemas[name] = typeSchema(type, todo);
  }
  const document = {
    openapi: '3.0.0',
    info: { title: 'Kubernetes', version: 'v1' },
    paths,
    components: { schemas: Object.fromEntries(Object.entries(schemas).sort(([a], [b]) => (a < b ? -1 : 1))) },
  };
  return Buffer.from(JSON.stringify(document));
}
