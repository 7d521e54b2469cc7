import { controllerRef, type EndpointSlice, type Node, objectKey, resources, splitKey, wellKnown } from '@weft/kube';
import { errorMessage, sameValue } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { LOOK_AGAIN_MS, OwnWrites } from '../own-writes.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { hasManagedEndpoints, ServicePods } from '../services.ts';
import { TriggerTimes } from '../trigger-times.ts';
import { compileSlices } from './compile.ts';
import { packSlices } from './pack.ts';
import { writeSlices } from './write.ts';

const NAME = 'endpoint-slice-controller';

/** `namespace/service` of a slice, by its label. */
export function serviceKeyOf(slice: EndpointSlice): string | undefined {
  const service = slice.metadata.labels?.[wellKnown.labels.serviceName];
  return service === undefined ? undefined : `${slice.metadata.namespace}/${service}`;
}

/** Keeps the EndpointSlices of Services with a selector. Deleted Services' slices fall to the garbage collector. */
export function endpointSliceController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const servicePods = new ServicePods(informers);
  const { services, pods } = servicePods;
  const nodes = informers.of(resources.nodes);
  const slices = informers.index(resources.endpointslices, 'service', serviceKeyOf);
  const writes = new OwnWrites();
  const times = new TriggerTimes();

  const queue = new WorkQueue(
    {
      ...context,
      name: NAME,
      concurrency: 8,
      onFailure: (key, error) => {
        const service = services.get(key);
        if (service === undefined) return;
        const message = `Error updating Endpoint Slices for Service ${key}: ${errorMessage(error)}`;
        recorder.event(service, 'Warning', 'FailedToUpdateEndpointSlices', message);
      },
    },
    reconcile,
  );

  async function reconcile(key: string): Promise<Again> {
    const service = services.get(key);
    if (service === undefined || service.metadata.deletionTimestamp !== undefined) {
      times.forget(key);
      writes.forget(key);
      return undefined;
    }
    if (!hasManagedEndpoints(service)) return undefined;
    // An event of the slices wakes this key when the cache has caught up; the delay is for the case it is lost.
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const selected = servicePods.podsOf(service);
    const desired = compileSlices(service, selected, (name) => nodes.get(name));
    const existing = slices
      .byIndex('service', key)
      .filter(
        (slice) =>
          slice.metadata.labels?.[wellKnown.labels.endpointSliceManagedBy] ===
            wellKnown.endpointSliceManagers.controller && slice.metadata.deletionTimestamp === undefined,
      );
    const changes = packSlices(existing, desired.groups, {
      placeholder: true,
      addressTypes: desired.addressTypes,
      stale: (slice) => !sameValue(slice.metadata.labels, desired.labels),
    });
    const triggerTime = times.compute(key, service, selected);
    const { namespace = '' } = splitKey(key);
    await writeSlices(
      client,
      slices,
      writes,
      key,
      {
        namespace,
        name: service.metadata.name,
        labels: desired.labels,
        owner: controllerRef(service, { apiVersion: 'v1', kind: 'Service' }),
        triggerTime,
      },
      changes,
    );
    return undefined;
  }

  servicePods.follow((key) => queue.add(key));
  const touchSlice = (slice: EndpointSlice): void => {
    const key = serviceKeyOf(slice);
    if (key !== undefined) queue.add(key);
  };
  slices.on({
    add: touchSlice,
    delete: touchSlice,
    update: (before, after) => {
      touchSlice(after);
      if (serviceKeyOf(before) !== serviceKeyOf(after)) touchSlice(before);
    },
  });
  const touchNode = (node: Node): void => {
    for (const pod of pods.byIndex('node', objectKey(node))) {
      for (const key of servicePods.servicesOf(pod.metadata.namespace, pod.metadata.labels)) queue.add(key);
    }
  };
  nodes.on({
    add: touchNode,
    delete: touchNode,
    update: (before, after) => {
      const zone = wellKnown.labels.zone;
      if (before.metadata.labels?.[zone] !== after.metadata.labels?.[zone]) touchNode(after);
    },
  });

  return {
    name: NAME,
    needs: [services, pods, nodes, slices],
    begin: () => queue.release(),
    idle: () => queue.idle(),
  };
}
