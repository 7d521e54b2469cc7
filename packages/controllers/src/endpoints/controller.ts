import { type Draft, type Endpoints, isStatus, objectKey, resources, splitKey, wellKnown } from '@weft/kube';
import { errorMessage, sameValue } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { LOOK_AGAIN_MS, OwnWrites } from '../own-writes.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { hasManagedEndpoints, ServicePods } from '../services.ts';
import { TriggerTimes } from '../trigger-times.ts';
import { compileEndpoints, isManaged, sameSubsets } from './compile.ts';

const NAME = 'endpoint-controller';
/** On Endpoints that hold a leader election lock, which belong to no Service. */
const LEADER = 'control-plane.alpha.kubernetes.io/leader';

/** Keeps the core/v1 Endpoints of Services with a selector, and removes those of Services that are gone. */
export function endpointsController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const servicePods = new ServicePods(informers);
  const { services, pods } = servicePods;
  const endpoints = informers.of(resources.endpoints);
  const writes = new OwnWrites();
  const times = new TriggerTimes();
  /** Services that were seen to go. */
  const bereft = new Set<string>();

  const queue = new WorkQueue(
    {
      ...context,
      name: NAME,
      onFailure: (key, error) => {
        const about = endpoints.get(key) ?? services.get(key);
        if (about === undefined) return;
        const message = `Failed to update endpoint ${key}: ${errorMessage(error)}`;
        recorder.event({ ...about, kind: 'Endpoints' }, 'Warning', 'FailedToUpdateEndpoint', message);
      },
    },
    reconcile,
  );

  async function reconcile(key: string): Promise<Again> {
    const service = services.get(key);
    const { namespace = '', name } = splitKey(key);
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const current = endpoints.get(key);
    if (service === undefined) {
      times.forget(key);
      // Endpoints that somebody made before, or without, a Service are theirs.
      const abandoned = current !== undefined && (isManaged(current) || bereft.delete(key));
      if (abandoned && current.metadata.annotations?.[LEADER] === undefined) {
        const { uid } = current.metadata;
        try {
          await client.delete(resources.endpoints, namespace, name, uid === undefined ? {} : { uid });
        } catch (error) {
          if (!isStatus(error, 'NotFound')) throw error;
        }
        writes.deleted(key, endpoints, key, uid);
      }
      return undefined;
    }
    bereft.delete(key);
    if (!hasManagedEndpoints(service)) return undefined;
    const selected = servicePods.podsOf(service);
    const desired = compileEndpoints(service, selected);
    const capacity = current?.metadata.annotations?.[wellKnown.annotations.endpointsOverCapacity];
    if (
      current !== undefined &&
      sameSubsets(current.subsets, desired.subsets, sameValue) &&
      sameValue(current.metadata.labels ?? {}, desired.labels) &&
      capacity === (desired.truncated ? 'truncated' : undefined)
    ) {
      times.compute(key, service, selected);
      return undefined;
    }
    const annotations: Record<string, string> = { ...current?.metadata.annotations };
    const trigger = times.compute(key, service, selected);
    setOrDelete(annotations, wellKnown.annotations.endpointsLastChangeTriggerTime, trigger);
    setOrDelete(annotations, wellKnown.annotations.endpointsOverCapacity, desired.truncated ? 'truncated' : undefined);
    const next: Draft<Endpoints> = {
      apiVersion: 'v1',
      kind: 'Endpoints',
      metadata: {
        ...current?.metadata,
        name,
        namespace,
        labels: desired.labels,
        ...(current !== undefined || Object.keys(annotations).length > 0 ? { annotations } : {}),
      },
      ...(desired.subsets.length === 0 ? {} : { subsets: desired.subsets }),
    };
    const written =
      current === undefined
        ? await client.create(resources.endpoints, next)
        : await client.update(resources.endpoints, next as Endpoints);
    writes.wrote(key, endpoints, written);
    return undefined;
  }

  services.on({ delete: (service) => bereft.add(objectKey(service)) });
  servicePods.follow((key) => queue.add(key));
  endpoints.on({
    add: (object) => queue.add(objectKey(object)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (object) => queue.add(objectKey(object)),
  });

  return {
    name: NAME,
    needs: [services, pods, endpoints],
    begin: () => queue.release(),
    idle: () => queue.idle(),
  };
}

function setOrDelete(annotations: Record<string, string>, name: string, value: string | undefined): void {
  if (value === undefined) delete annotations[name];
  else annotations[name] = value;
}
