import type { PodReference } from '../ipam/ipam.ts';
import type { NetworkDefinition } from './definition.ts';
import type { NetworkStatus } from './status.ts';

/** What the plugin for several networks asks and tells the cluster; answered from memory, never by a call to the API. */
export interface NetworkSource {
  /** Annotations of a pod of this node; waits a little for a pod that is not known yet. Undefined: it stays unknown. */
  annotations(pod: PodReference): Promise<Readonly<Record<string, string>> | undefined>;
  /** A definition; waits a little for one that is not known yet. */
  definition(namespace: string, name: string): Promise<NetworkDefinition | undefined>;
  /** Devices of an extended resource that the kubelet has given to the pod, in its order. */
  devices?(pod: PodReference, resourceName: string): Promise<readonly string[]>;
  /** Takes note of the networks that a pod has got; must not throw. */
  attached(pod: PodReference, statuses: readonly NetworkStatus[]): void;
  /** Records an event about the pod; must not throw. */
  event(pod: PodReference, type: 'Normal' | 'Warning', reason: string, message: string): void;
}
