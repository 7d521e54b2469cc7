import type { KubeClient, KubeObject, ResourceType } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { Informer } from '@weft/kube';
import type { OwnWrites } from '@weft/controllers';

/**
 * Writes the status of an object when it differs from the cached one, counters that are 0 and absent being the same.
 * The cached version goes with it, so that a status made from an old object is refused.
 */
export async function writeStatus<T extends KubeObject & { status?: object }>(
  client: KubeClient,
  type: ResourceType<T>,
  informer: Informer<T>,
  writes: OwnWrites,
  key: string,
  object: T,
  status: NonNullable<T['status']>,
): Promise<boolean> {
  if (sameValue(withoutZeros(object.status ?? {}), withoutZeros(status))) return false;
  writes.wrote(key, informer, await client.updateStatus(type, { ...object, status: withoutZeros(status, type) }));
  return true;
}

/** `replicas` of some kinds is not optional, the other counters are left out when they are 0, as Go marshals them. */
const REQUIRED = new Set([
  'replicas',
  'currentNumberScheduled',
  'desiredNumberScheduled',
  'numberMisscheduled',
  'numberReady',
]);

function withoutZeros(status: object, keepRequired?: unknown): object {
  return Object.fromEntries(
    Object.entries(status).filter(
      ([key, value]) =>
        value !== undefined &&
        ((value !== 0 && !(Array.isArray(value) && value.length === 0)) ||
          (keepRequired !== undefined && REQUIRED.has(key))),
    ),
  );
}
