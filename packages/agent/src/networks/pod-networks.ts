import {
  NETWORK_STATUS_ANNOTATION,
  type NetworkDefinition,
  type NetworkSource,
  type NetworkStatus,
  type PodReference,
} from '@weft/cni';
import { type EventRecorder, isStatus, type KubeClient, resources } from '@weft/kube';
import { errorMessage, type Logger } from '@weft/plan';
import type { AddressCache } from '../addresses/cache.ts';

/** Longest an ADD waits after a start until the API's objects are known, milliseconds. */
const SYNC_MS = 10_000;
const OBJECT_MS = 2000;
/** Waits before the status of a pod's networks is written again, milliseconds. */
const AGAIN_MS = [200, 1000, 5000, 15_000];

export interface PodNetworksOptions {
  readonly client: Pick<KubeClient, 'patch'>;
  readonly cache: AddressCache;
  readonly events: EventRecorder;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Longest an ADD waits for one object that others may just have made, milliseconds. Default 2000. */
  readonly objectMs?: number;
}

/**
 * What the cluster says of pods' networks, from the agent's cache, and what it is told of them after the fact: no ADD
 * waits for the API.
 */
export class PodNetworks implements NetworkSource {
  readonly #options: PodNetworksOptions;
  readonly #log: Logger;
  readonly #objectMs: number;

  constructor(options: PodNetworksOptions) {
    this.#options = options;
    this.#objectMs = options.objectMs ?? OBJECT_MS;
    this.#log = options.log.child({ component: 'networks' });
  }

  async annotations(pod: PodReference): Promise<Readonly<Record<string, string>> | undefined> {
    const { cache } = this.#options;
    const known = (): { readonly annotations?: Record<string, string> } | undefined => {
      const metadata = cache.pods.get(`${pod.namespace}/${pod.name}`)?.metadata;
      // One of the same name may be left from before.
      return metadata !== undefined && (pod.uid === undefined || metadata.uid === pod.uid) ? metadata : undefined;
    };
    await cache.until(() => known() !== undefined, cache.synced ? this.#objectMs : SYNC_MS);
    const metadata = known();
    return metadata === undefined ? undefined : (metadata.annotations ?? {});
  }

  async definition(namespace: string, name: string): Promise<NetworkDefinition | undefined> {
    const { cache } = this.#options;
    await cache.whenSynced(SYNC_MS);
    if (!cache.hasNetworks) return undefined;
    await cache.until(() => cache.network(namespace, name) !== undefined, this.#objectMs);
    return cache.network(namespace, name);
  }

  attached(pod: PodReference, statuses: readonly NetworkStatus[]): void {
    void this.#write(pod, statusText(statuses));
  }

  event(pod: PodReference, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { namespace, name, uid } = pod;
    const about = { apiVersion: 'v1', kind: 'Pod', namespace, name, ...(uid === undefined ? {} : { uid }) };
    this.#options.events.event(about, type, reason, message);
  }

  async #write(pod: PodReference, text: string): Promise<void> {
    const { client, signal } = this.#options;
    // With its uid, a pod that was made anew meanwhile is left alone.
    const uid = pod.uid === undefined ? {} : { uid: pod.uid };
    const patch = { metadata: { ...uid, annotations: { [NETWORK_STATUS_ANNOTATION]: text } } };
    for (const wait of [...AGAIN_MS, undefined]) {
      try {
        await client.patch(resources.pods, pod.namespace, pod.name, patch, { subresource: 'status' });
        return;
      } catch (error) {
        // It has gone, or another one has its name.
        if (signal.aborted || isStatus(error, 'NotFound') || isStatus(error, 'Conflict')) return;
        const about = { pod: `${pod.namespace}/${pod.name}`, error: errorMessage(error) };
        this.#log.warn("cannot write the status of a pod's networks", about);
        if (wait === undefined) return;
        await new Promise<void>((resolve) => setTimeout(resolve, wait).unref());
      }
    }
  }
}

/** The annotation as Multus writes it: one object after the other, indented by four spaces. */
function statusText(statuses: readonly NetworkStatus[]): string {
  return `[${statuses.map((status) => JSON.stringify(status, undefined, 4)).join(',')}]`;
}
