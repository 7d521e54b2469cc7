import {
  type Draft,
  type EndpointSlice,
  type Informer,
  isStatus,
  type KubeClient,
  objectKey,
  type OwnerReference,
  resources,
  wellKnown,
} from '@weft/kube';
import type { OwnWrites } from '../own-writes.ts';
import type { SliceChanges, SliceContent } from './pack.ts';

/** What all slices of one object have in common. */
export interface SliceIdentity {
  readonly namespace: string;
  /** Name of the Service (or Endpoints): the stem of slice names. */
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
  readonly owner: OwnerReference;
  /** RFC 3339; see TriggerTimes. */
  readonly triggerTime: string | undefined;
}

/** Brings slice changes into effect, all at once; the first failure is thrown after the others had their turn. */
export async function writeSlices(
  client: KubeClient,
  slices: Informer<EndpointSlice>,
  writes: OwnWrites,
  key: string,
  identity: SliceIdentity,
  changes: SliceChanges,
): Promise<void> {
  const { namespace, name } = identity;
  const jobs = [
    ...changes.create.map(async (content) => {
      const draft: Draft<EndpointSlice> = {
        ...render(content),
        metadata: {
          generateName: `${name}-`,
          namespace,
          labels: identity.labels,
          ...annotate(identity, undefined),
          ownerReferences: [identity.owner],
        },
      };
      writes.wrote(key, slices, await client.create(resources.endpointslices, draft));
    }),
    ...changes.update.map(async ({ slice, content }) => {
      const { annotations: _, ...meta } = slice.metadata;
      const next: EndpointSlice = {
        ...render(content),
        metadata: {
          ...meta,
          labels: identity.labels,
          ...annotate(identity, slice),
          ownerReferences: [identity.owner],
        },
      };
      writes.wrote(key, slices, await client.update(resources.endpointslices, next));
    }),
    ...changes.remove.map(async (slice) => {
      const { uid } = slice.metadata;
      try {
        await client.delete(resources.endpointslices, namespace, slice.metadata.name, uid === undefined ? {} : { uid });
      } catch (error) {
        if (!isStatus(error, 'NotFound')) throw error;
      }
      writes.deleted(key, slices, objectKey(slice), uid);
    }),
  ];
  for (const result of await Promise.allSettled(jobs)) {
    if (result.status === 'rejected') throw result.reason;
  }
}

function render(content: SliceContent): Omit<EndpointSlice, 'metadata'> {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    addressType: content.addressType,
    endpoints: [...content.endpoints],
    ports: [...content.ports],
  };
}

function annotate(identity: SliceIdentity, slice: EndpointSlice | undefined): { annotations?: Record<string, string> } {
  const annotations: Record<string, string> = { ...slice?.metadata.annotations, ...identity.annotations };
  const name = wellKnown.annotations.endpointsLastChangeTriggerTime;
  if (identity.triggerTime === undefined) delete annotations[name];
  else annotations[name] = identity.triggerTime;
  return Object.keys(annotations).length === 0 ? {} : { annotations };
}
