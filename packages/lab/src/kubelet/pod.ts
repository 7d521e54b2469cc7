import { createHash } from 'node:crypto';
import type { Container, Pod } from '@weft/kube';

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

/** Names of containers in spec order: init containers first. */
export function allContainers(pod: Pod): { container: Container; init: boolean }[] {
  return [
    ...(pod.spec.initContainers ?? []).map((container) => ({ container, init: true })),
    ...pod.spec.containers.map((container) => ({ container, init: false })),
  ];
}

/** `spec.containers{web}`: where an event about a container points to. */
export function fieldPathOf(pod: Pod, name: string): string {
  return pod.spec.initContainers?.some((c) => c.name === name) === true
    ? `spec.initContainers{${name}}`
    : `spec.containers{${name}}`;
}

/** Seconds a pod has to end: those of its deletion once there are any. */
export function graceSecondsOf(pod: Pod): number {
  return pod.metadata.deletionGracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds ?? 30;
}
