import { createHash } from 'node:crypto';
import type { Container, ContainerStatus, Pod, PodStatus } from '@weft/kube';

export type RestartPolicy = 'Always' | 'OnFailure' | 'Never';

/** `metadata.uid`; there is one on everything an API server stored. */
export const uidOf = (pod: Pod): string => pod.metadata.uid ?? '';

export const namespaceOf = (pod: Pod): string => pod.metadata.namespace ?? 'default';

/** `name_namespace(uid)`, as Kubernetes' messages name a pod. */
export const podText = (pod: Pod): string => `${pod.metadata.name}_${namespaceOf(pod)}(${uidOf(pod)})`;

export const restartPolicyOf = (pod: Pod): RestartPolicy => pod.spec.restartPolicy ?? 'Always';

/** An init container that keeps running beside the others (KEP-753). */
export const isSidecar = (container: Container): boolean => container.restartPolicy === 'Always';

/** Changes with what makes a running container a different one: its name and image. */
export function containerHash(container: Container): string {
  return createHash('sha256')
    .update(JSON.stringify([container.name, container.image]))
    .digest('hex')
    .slice(0, 16);
}

/** Ephemeral containers, which `kubectl debug` adds to a pod that runs. They have no probes, ports or restarts. */
export const ephemeralContainers = (pod: Pod): Container[] => (pod.spec.ephemeralContainers ?? []) as Container[];

/** All containers of a pod, in this order: init containers, containers, ephemeral containers. */
export function allContainers(pod: Pod): { container: Container; init: boolean }[] {
  return [
    ...(pod.spec.initContainers ?? []).map((container) => ({ container, init: true })),
    ...[...pod.spec.containers, ...ephemeralContainers(pod)].map((container) => ({ container, init: false })),
  ];
}

/** The definition of one container of any sort. */
export function definitionOf(pod: Pod, name: string): Container | undefined {
  return allContainers(pod).find((c) => c.container.name === name)?.container;
}

/** Statuses of containers of all sorts. */
export function allStatuses(status: PodStatus | undefined): ContainerStatus[] {
  const { initContainerStatuses = [], containerStatuses = [], ephemeralContainerStatuses = [] } = status ?? {};
  return [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses];
}

/** `spec.containers{web}`: where an event about a container points to. */
export function fieldPathOf(pod: Pod, name: string): string {
  const has = (list: readonly { name: string }[] | undefined): boolean => list?.some((c) => c.name === name) === true;
  if (has(pod.spec.initContainers)) return `spec.initContainers{${name}}`;
  return has(pod.spec.ephemeralContainers) ? `spec.ephemeralContainers{${name}}` : `spec.containers{${name}}`;
}

/** Seconds a pod has to end: those of its deletion once there are any. */
export function graceSecondsOf(pod: Pod): number {
  return pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
}
