import type { Container, Pod, PodCondition } from '@weft/kube';

/** The annotations of pods that a controller reads. */
const READ_ANNOTATIONS = ['controller.kubernetes.io/pod-deletion-cost'];

/**
 * What controllers and the scheduler read of a pod: no environment, no mounts, no probes, no images. A pod of 4 KB
 * becomes one of half a KB.
 */
export function slimPod(pod: Pod): Pod {
  const { spec, status } = pod;
  const meta = { ...pod.metadata };
  delete meta.managedFields;
  delete meta.annotations;
  for (const name of READ_ANNOTATIONS) {
    const value = pod.metadata.annotations?.[name];
    if (value !== undefined) meta.annotations = { [name]: value };
  }
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: meta,
    spec: present({
      containers: spec.containers.map(slimContainer),
      // Init containers that go on running serve ports (KEP-753).
      initContainers: spec.initContainers?.filter((c) => c.restartPolicy === 'Always').map(slimContainer),
      nodeName: spec.nodeName,
      nodeSelector: spec.nodeSelector,
      affinity: spec.affinity,
      tolerations: spec.tolerations,
      topologySpreadConstraints: spec.topologySpreadConstraints,
      schedulingGates: spec.schedulingGates,
      schedulerName: spec.schedulerName,
      restartPolicy: spec.restartPolicy,
      hostNetwork: spec.hostNetwork,
      hostname: spec.hostname,
      subdomain: spec.subdomain,
    }) as Pod['spec'],
    ...(status === undefined
      ? {}
      : {
          status: present({
            phase: status.phase,
            reason: status.reason,
            conditions: status.conditions,
            podIP: status.podIP,
            podIPs: status.podIPs,
            hostIP: status.hostIP,
            containerStatuses: status.containerStatuses?.map((s) => ({
              name: s.name,
              restartCount: s.restartCount,
            })) as NonNullable<Pod['status']>['containerStatuses'],
          }) as NonNullable<Pod['status']>,
        }),
  };
}

function slimContainer(container: Container): Container {
  return present({
    name: container.name,
    ports: container.ports,
    restartPolicy: container.restartPolicy,
  }) as Container;
}

/** The object without fields that are undefined. */
function present<T extends object>(object: T): Partial<T> {
  const out = object as Record<string, unknown>;
  for (const key of Object.keys(out)) if (out[key] === undefined) delete out[key];
  return object;
}

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((c) => c.type === type);
}

/** True when the pod's Ready condition is True. */
export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** True when all containers have ended for good. */
export function isPodTerminal(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** True when the pod has neither ended nor been asked to. */
export function isPodActive(pod: Pod): boolean {
  return !isPodTerminal(pod) && pod.metadata.deletionTimestamp === undefined;
}

/** True when the pod has been ready for `minReadySeconds`; `now` in milliseconds since the epoch. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, now: number): boolean {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return false;
  if (minReadySeconds === 0) return true;
  return ready.lastTransitionTime !== undefined && Date.parse(ready.lastTransitionTime) + minReadySeconds * 1000 <= now;
}

/** The addresses of a pod, first the primary one. */
export function podAddresses(pod: Pod): string[] {
  const many = pod.status?.podIPs;
  if (many !== undefined && many.length > 0) return many.map(({ ip }) => ip).filter((ip) => ip !== '');
  return pod.status?.podIP ? [pod.status.podIP] : [];
}
