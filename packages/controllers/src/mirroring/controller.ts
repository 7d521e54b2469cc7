import { controllerRef, type Endpoints, objectKey, resources, type Service, splitKey, wellKnown } from '@weft/kube';
import { errorMessage, sameValue } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { serviceKeyOf } from '../endpointslice/controller.ts';
import { packSlices, type SliceChanges } from '../endpointslice/pack.ts';
import { writeSlices } from '../endpointslice/write.ts';
import { LOOK_AGAIN_MS, OwnWrites } from '../own-writes.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { hasSelector } from '../services.ts';
import { compileMirror, mirrorAnnotations, mirrorLabels } from './compile.ts';

const NAME = 'endpoint-slice-mirroring-controller';
const LEADER = 'control-plane.alpha.kubernetes.io/leader';

/** Mirrors hand-written Endpoints of Services without selector into EndpointSlices (KEP-752). */
export function mirroringController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const services = informers.of(resources.services);
  const endpoints = informers.of(resources.endpoints);
  const slices = informers.index(resources.endpointslices, 'service', serviceKeyOf);
  const writes = new OwnWrites();

  const queue = new WorkQueue(
    {
      ...context,
      name: NAME,
      onFailure: (key, error) => {
        const about = endpoints.get(key);
        if (about === undefined) return;
        const message = `Failed to update EndpointSlices for Endpoints ${key}: ${errorMessage(error)}`;
        recorder.event(about, 'Warning', 'FailedToUpdateEndpointSlices', message);
      },
    },
    reconcile,
  );

  async function reconcile(key: string): Promise<Again> {
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const existing = slices
      .byIndex('service', key)
      .filter(
        (s) =>
          s.metadata.labels?.[wellKnown.labels.endpointSliceManagedBy] === wellKnown.endpointSliceManagers.mirroring &&
          s.metadata.deletionTimestamp === undefined,
      );
    const source = endpoints.get(key);
    const service = services.get(key);
    const mirrored = source !== undefined && isMirrored(source, service);
    if (!mirrored && existing.length === 0) return undefined;
    const { namespace = '', name } = splitKey(key);
    const none: SliceChanges = { create: [], update: [], remove: existing };
    const labels = source === undefined ? {} : mirrorLabels(source);
    const changes = mirrored
      ? packSlices(existing, compileMirror(source), {
          placeholder: false,
          addressTypes: [],
          stale: (slice) => !sameValue(slice.metadata.labels, labels),
        })
      : none;
    const identity = {
      namespace,
      name,
      labels,
      annotations: source === undefined ? {} : mirrorAnnotations(source),
      owner: controllerRef(source ?? { metadata: { name } }, { apiVersion: 'v1', kind: 'Endpoints' }),
      triggerTime: source?.metadata.annotations?.[wellKnown.annotations.endpointsLastChangeTriggerTime],
    };
    await writeSlices(client, slices, writes, key, identity, changes);
    return undefined;
  }

  const touch = (object: Endpoints | Service): void => queue.add(objectKey(object));
  endpoints.on({ add: touch, update: (_, after) => touch(after), delete: touch });
  services.on({
    add: touch,
    update: (before, after) => {
      if (hasSelector(before) !== hasSelector(after)) touch(after);
    },
    delete: touch,
  });
  const touchSlice = (slice: Parameters<typeof serviceKeyOf>[0]): void => {
    const managedBy = slice.metadata.labels?.[wellKnown.labels.endpointSliceManagedBy];
    const key = serviceKeyOf(slice);
    if (key !== undefined && managedBy === wellKnown.endpointSliceManagers.mirroring) queue.add(key);
  };
  slices.on({ add: touchSlice, update: (_, after) => touchSlice(after), delete: touchSlice });

  return {
    name: NAME,
    needs: [services, endpoints, slices],
    begin: () => queue.release(),
    idle: () => queue.idle(),
  };
}

/** Mirrored are Endpoints of a Service without selector that nobody exempted. */
function isMirrored(endpoints: Endpoints, service: Service | undefined): boolean {
  return (
    service !== undefined &&
    !hasSelector(service) &&
    endpoints.metadata.labels?.[wellKnown.labels.skipMirror] !== 'true' &&
    endpoints.metadata.annotations?.[LEADER] === undefined
  );
}
