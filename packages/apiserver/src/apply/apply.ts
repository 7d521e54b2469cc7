import { failure, type Status, StatusError, statusErrors } from '@weft/kube';
import type { Call, Env, Result } from '../registry/context.ts';
import { bodyTypeOf, checkBody, decodeObject, pruneBody } from '../registry/decode.ts';
import { formatTime } from '../registry/metadata.ts';
import type { Resource } from '../registry/resource.ts';
import { type Part, updateObject } from '../registry/update.ts';
import type { AnyObject } from '../store/stored.ts';
import { difference, emptySet, type FieldSet, intersection, isEmptySet, pathsOf, sameSet, union } from './field-set.ts';
import { type Manager, ownable, readManagers, shapeOf, writeManagers } from './managers.ts';
import type { Shape } from './shape.ts';
import { changedFields, existing, fieldsOf, listFaults, mergeTyped, removeUnowned } from './typed.ts';
import { isRecord } from '../registry/json.ts';

export interface ApplyRequest {
  readonly namespace: string | undefined;
  readonly name: string;
  readonly part: Part;
  /** The decoded body. */
  readonly value: unknown;
  /** Takes over fields that others own. */
  readonly force: boolean;
}

const BEFORE_FIRST_APPLY = 'before-first-apply';

/** Server-side apply (KEP-555). Throws 409 with one cause per field that somebody else owns. */
export function applyObject(env: Env, resource: Resource, request: ApplyRequest, call: Call): Result {
  const { namespace, name, part, force } = request;
  if (!call.managerGiven) {
    throw new StatusError(
      failure(
        'Invalid',
        'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch',
        {
          group: 'meta.k8s.io',
          kind: 'PatchOptions',
          causes: [
            {
              reason: 'FieldValueRequired',
              field: 'fieldManager',
              message: 'Required value: is required for apply patch',
            },
          ],
        },
      ),
    );
  }
  const config = readConfig(resource, request);
  const shape = shapeOf(resource);
  const applied = ownedPart(resource, ownable(fieldsOf(config, shape)), part);
  const own: Omit<Manager, 'set'> = {
    manager: call.manager,
    operation: 'Apply',
    apiVersion: resource.apiVersion,
    subresource: part === 'all' ? '' : part,
    time: formatTime(env.now()),
  };
  const change = (current: AnyObject): AnyObject => {
    const { object, managers } = applyTo(current, config, shape, applied, own, force, () =>
      ownedPart(resource, ownable(fieldsOf(current, shape)), part),
    );
    const entries = writeManagers(managers);
    pruneBody(object, bodyTypeOf(resource));
    const { managedFields: _, ...metadata } = object.metadata;
    return { ...object, metadata: entries.length === 0 ? metadata : { ...metadata, managedFields: entries } };
  };
  const create = (): AnyObject => ({
    ...config,
    metadata: { ...config.metadata, name, managedFields: writeManagers([{ ...own, set: applied }]) },
  });
  return updateObject(
    env,
    resource,
    { namespace, name, part, change, ...(part === 'all' ? { create } : {}), tracked: 'applied' },
    call,
  );
}

function readConfig(resource: Resource, request: ApplyRequest): AnyObject {
  const { value } = request;
  if (!isRecord(value))
    throw statusErrors.badRequest('error decoding YAML: the applied configuration is not an object');
  if (isRecord(value.metadata) && value.metadata.managedFields !== undefined && value.metadata.managedFields !== null) {
    throw statusErrors.badRequest('metadata.managedFields must be nil');
  }
  if (value.kind === undefined || value.apiVersion === undefined) {
    throw statusErrors.badRequest("couldn't get version/kind: Object 'Kind' is missing in the applied configuration");
  }
  // The typed merge cannot hold a field that the schema does not have, whatever fieldValidation says.
  const { unknown, typeErrors } = checkBody(value, bodyTypeOf(resource), 'Strict');
  const field = /^unknown field "(.*)"$/.exec(unknown[0] ?? '')?.[1];
  const why = field === undefined ? typeErrors[0] : `.${field}: field not declared in schema`;
  if (why !== undefined) throw untyped(resource, request, why);
  const faults = listFaults(value, shapeOf(resource));
  if (faults.length > 0) {
    throw untyped(resource, request, faults.length === 1 ? `${faults[0]}` : ['errors:', ...faults].join('\n  '));
  }
  return decodeObject(structuredClone(value), bodyTypeOf(resource), 'Ignore', []);
}

function untyped(resource: Resource, request: ApplyRequest, why: string): StatusError {
  const { namespace = '', name } = request;
  const { group, version, kind } = resource.api;
  const message = `failed to create typed patch object (${namespace}/${name}; ${group}/${version}, Kind=${kind}): ${why}`;
  const status: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Failure', message, code: 500 };
  return new StatusError(status);
}

/** The status belongs to its subresource, and the rest does not. */
function ownedPart(resource: Resource, set: FieldSet, part: Part): FieldSet {
  const out = emptySet();
  for (const [key, child] of set.children) {
    const isStatus = key === 'f:status';
    if (part === 'status' ? isStatus : !isStatus || resource.strategy.statusSubresource !== true) {
      out.children.set(key, child);
    }
  }
  return out;
}

function applyTo(
  current: AnyObject,
  config: AnyObject,
  shape: Shape,
  applied: FieldSet,
  own: Omit<Manager, 'set'>,
  force: boolean,
  everything: () => FieldSet,
): { object: AnyObject; managers: Manager[] } {
  let managers = readManagers(current.metadata.managedFields);
  if (managers.length === 0) {
    // Who wrote the object until now was not recorded: their fields are theirs all the same.
    managers = [{ ...own, manager: BEFORE_FIRST_APPLY, operation: 'Update', subresource: '', set: everything() }];
  }
  const isOwn = (m: Manager): boolean =>
    m.operation === 'Apply' && m.manager === own.manager && m.subresource === own.subresource;
  const last = managers.find(isOwn);
  const others = managers.filter((m) => !isOwn(m));

  const merged = mergeTyped(current, config, shape);
  const owned = others.reduce((set, m) => union(set, m.set), applied);
  const dropped = last === undefined ? emptySet() : difference(last.set, applied);
  const pruned = (isEmptySet(dropped) ? merged : removeUnowned(merged, shape, dropped, protect(owned))) as AnyObject;
  const object = { ...pruned, metadata: { ...pruned.metadata } };

  const changed = ownable(changedFields(current, object, shape));
  const conflicts: { readonly by: Manager; readonly set: FieldSet }[] = [];
  const kept: Manager[] = [];
  for (const m of others) {
    const conflict = intersection(m.set, changed);
    if (!isEmptySet(conflict)) conflicts.push({ by: m, set: conflict });
    kept.push({ ...m, set: existing(difference(m.set, conflict), object, shape) });
  }
  if (conflicts.length > 0 && !force) throw conflictError(conflicts);
  const time = last !== undefined && sameSet(last.set, applied) ? last.time : own.time;
  return { object, managers: [...kept, { ...own, time, set: applied }] };
}

/** Fields that no manager owns but that no object can be without. */
function protect(owned: FieldSet): FieldSet {
  const metadata = emptySet();
  metadata.children.set('f:name', emptySet(true));
  const system = emptySet();
  system.children.set('f:metadata', metadata);
  return union(owned, system);
}

function conflictError(conflicts: readonly { readonly by: Manager; readonly set: FieldSet }[]): StatusError {
  const causes = conflicts.flatMap(({ by, set }) =>
    pathsOf(set).map((field) => ({
      reason: 'FieldManagerConflict',
      message: `conflict with ${describe(by)}`,
      field,
    })),
  );
  const message =
    causes.length === 1
      ? `Apply failed with 1 conflict: ${causes[0]?.message}: ${causes[0]?.field}`
      : `Apply failed with ${causes.length} conflicts: ${conflicts
          .map(({ by, set }) => [`conflicts with ${describe(by)}:`, ...pathsOf(set).map((p) => `- ${p}`)].join('\n'))
          .join('\n')}`;
  return new StatusError(failure('Conflict', message, { causes }));
}

function describe(m: Manager): string {
  const where = m.subresource === '' ? '' : ` with subresource "${m.subresource}"`;
  return m.operation === 'Update' ? `"${m.manager}"${where} using ${m.apiVersion}` : `"${m.manager}"${where}`;
}
