import {
  applyJsonPatch,
  applyMergePatch,
  applyStrategicMergePatch,
  failure,
  type Json,
  type JsonObject,
  PatchError,
  StatusError,
  statusErrors,
} from '@weft/kube';
import type { AnyObject } from '../store/stored.ts';
import type { Call, Env, Result } from './context.ts';
import { bodyTypeOf, checkBody, decodeObject, report } from './decode.ts';
import { strategicSchema } from './patch-schema.ts';
import type { Resource } from './resource.ts';
import { type Part, updateObject } from './update.ts';
import { isRecord } from './json.ts';

export type PatchType = 'json' | 'merge' | 'strategic' | 'apply';

const PATCH_TYPES: Readonly<Record<string, PatchType>> = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
  'application/apply-patch+yaml': 'apply',
};

/** Reads the kind of patch from the Content-Type. Throws 415. */
export function patchType(mediaType: string, resource: Resource): PatchType {
  const type = PATCH_TYPES[mediaType];
  if (type === undefined || (type === 'strategic' && resource.custom !== undefined)) {
    const accepted = Object.keys(PATCH_TYPES).filter((t) => resource.custom === undefined || !t.includes('strategic'));
    throw statusErrors.unsupportedMediaType(
      `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
    );
  }
  return type;
}

/** Applies a patch of any kind but apply to an object. Throws 400 or 422. */
export function patchValue(
  resource: Resource,
  type: Exclude<PatchType, 'apply'>,
  object: AnyObject,
  patch: unknown,
): Json {
  const target = object as unknown as JsonObject;
  try {
    if (type === 'json') return applyJsonPatch(target, patch);
    if (!isRecord(patch)) {
      throw statusErrors.badRequest('json: cannot unmarshal array into Go value of type map[string]interface {}');
    }
    if (type === 'merge') return applyMergePatch(target, patch as JsonObject);
    return applyStrategicMergePatch(target, patch as JsonObject, resource.typeName, strategicSchema);
  } catch (error) {
    if (!(error instanceof PatchError)) throw error;
    if (error.code === 'PATCH_INVALID') throw statusErrors.badRequest(error.message);
    throw new StatusError(failure('Invalid', error.message, {}));
  }
}

export interface PatchRequest {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly part: Part;
  readonly type: Exclude<PatchType, 'apply'>;
  readonly patch: unknown;
}

/** PATCH with a JSON, merge or strategic merge patch. */
export function patchObject(env: Env, resource: Resource, request: PatchRequest, call: Call): Result {
  const { patch } = request;
  const change = (current: AnyObject): AnyObject => {
    const type = bodyTypeOf(resource);
    const before = checkBody(current, type, 'Strict').unknown;
    const patched = patchValue(resource, request.type, current, patch);
    if (!isRecord(patched)) throw statusErrors.badRequest('the patch does not give an object');
    const unknown = checkBody(patched, type, call.validation).unknown.filter((u) => !before.includes(u));
    report(unknown, call.validation, call.warnings, (problems) =>
      patchInvalid(patch, `strict decoding error: ${problems}`),
    );
    return decodeObject(patched, type, 'Ignore', []);
  };
  return updateObject(
    env,
    resource,
    { namespace: request.namespace, name: request.name, part: request.part, change },
    call,
  );
}

function patchInvalid(patch: unknown, why: string): StatusError {
  const cause = { reason: 'FieldValueInvalid', field: 'patch', message: `Invalid value: "${goPrint(patch)}": ${why}` };
  return new StatusError(failure('Invalid', ` "" is invalid: patch: ${cause.message}`, { causes: [cause] }));
}

/** A value as Go's `%+v` prints it, which is how the API server quotes a patch. */
function goPrint(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return `[${value.map(goPrint).join(' ')}]`;
  if (isRecord(value)) {
    return `map[${Object.keys(value)
      .sort()
      .map((key) => `${key}:${goPrint(value[key])}`)
      .join(' ')}]`;
  }
  return typeof value === 'string' ? value : JSON.stringify(value);
}
