import { formatLabelSelector, type LabelSelector, type Scale, statusErrors } from '@weft/kube';
import type { AnyObject } from '../store/stored.ts';
import type { Call, Env, Result } from './context.ts';
import type { Resource } from './resource.ts';
import { updateObject } from './update.ts';
import { isRecord } from './json.ts';

/** The Scale (autoscaling/v1) of an object that has replicas. */
export function scaleOf(resource: Resource, object: AnyObject): Scale {
  const paths = resource.custom?.scale ?? { spec: '.spec.replicas', status: '.status.replicas', selector: undefined };
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const selector = selectorText(resource, object);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
    },
    spec: { replicas: Number(at(object, paths.spec) ?? 0) },
    status: {
      replicas: Number(at(object, paths.status) ?? 0),
      ...(selector === '' ? {} : { selector }),
    },
  };
}

function selectorText(resource: Resource, object: AnyObject): string {
  if (resource.custom !== undefined) {
    const path = resource.custom.scale?.selector;
    const text = path === undefined ? undefined : at(object, path);
    return typeof text === 'string' ? text : '';
  }
  const selector = at(object, '.spec.selector');
  if (!isRecord(selector)) return '';
  // A ReplicationController's selector is a plain map.
  if (resource.api.plural === 'replicationcontrollers') {
    return formatLabelSelector({ matchLabels: selector as Record<string, string> });
  }
  return formatLabelSelector(selector as LabelSelector);
}

/** The value at a simple JSON path such as `.spec.replicas`. */
function at(object: unknown, path: string): unknown {
  let value = object;
  for (const part of path.split('.').filter((p) => p !== '')) value = isRecord(value) ? value[part] : undefined;
  return value;
}

function withValue(object: AnyObject, path: string, value: unknown): AnyObject {
  const set = (target: unknown, parts: readonly string[]): unknown => {
    const [first, ...rest] = parts;
    if (first === undefined) return value;
    const record = isRecord(target) ? target : {};
    return { ...record, [first]: set(record[first], rest) };
  };
  return set(
    object,
    path.split('.').filter((p) => p !== ''),
  ) as AnyObject;
}

/** Sets the replicas of an object through its Scale. `change` gets the current Scale. Throws 409 or 422. */
export function updateScale(
  env: Env,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  change: (current: Scale) => Scale,
  call: Call,
): Result {
  return updateObject(
    env,
    resource,
    {
      namespace,
      name,
      part: 'all',
      subresource: 'scale',
      change: (current) => {
        const wanted = change(scaleOf(resource, current));
        const replicas = wanted.spec?.replicas ?? 0;
        if (!Number.isInteger(replicas) || replicas < 0) {
          throw statusErrors.invalid({ group: 'autoscaling', plural: 'scales', kind: 'Scale' }, name, [
            {
              reason: 'FieldValueInvalid',
              field: 'spec.replicas',
              message: `Invalid value: ${JSON.stringify(replicas)}: must be greater than or equal to 0`,
            },
          ]);
        }
        const { uid, resourceVersion } = wanted.metadata ?? {};
        const next = withValue(current, resource.custom?.scale?.spec ?? '.spec.replicas', replicas);
        return {
          ...next,
          metadata: {
            ...next.metadata,
            ...(uid ? { uid } : {}),
            ...(resourceVersion ? { resourceVersion } : {}),
          },
        };
      },
    },
    call,
  );
}
