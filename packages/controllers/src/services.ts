import { type Informer, matchLabels, type Pod, type Service, resources } from '@weft/kube';
import { type InformerSet, podInformer } from './shared.ts';

/** True when the Service picks its endpoints by labels; an empty selector picks none. */
export function hasSelector(service: Service): boolean {
  return Object.keys(service.spec?.selector ?? {}).length > 0;
}

/** True when controllers make endpoints for the Service: it has a selector and is not a mere name (ExternalName). */
export function hasManagedEndpoints(service: Service): boolean {
  return hasSelector(service) && service.spec?.type !== 'ExternalName';
}

/** True for `clusterIP: None`. */
export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None' || service.spec?.clusterIP === undefined || service.spec.clusterIP === '';
}

/** Finds the pods of a Service and the Services of a pod without looking at all of either. */
export class ServicePods {
  readonly services: Informer<Service>;
  readonly pods: Informer<Pod>;

  constructor(informers: InformerSet) {
    this.pods = podInformer(informers);
    // One pair of the selector is enough to find the candidates.
    this.services = informers.index(resources.services, 'selector', (service) => {
      if (!hasManagedEndpoints(service)) return undefined;
      for (const key in service.spec?.selector) {
        return `${service.metadata.namespace}/${key}=${service.spec?.selector?.[key]}`;
      }
      return undefined;
    });
  }

  /** The pods that the Service selects. */
  podsOf(service: Service): Pod[] {
    const selector = service.spec?.selector ?? {};
    let fewest: Pod[] | undefined;
    for (const key in selector) {
      const found = this.pods.byIndex('labels', `${service.metadata.namespace}/${key}=${selector[key]}`);
      if (fewest === undefined || found.length < fewest.length) fewest = found;
    }
    return (fewest ?? []).filter((pod) => matchLabels(selector, pod.metadata.labels));
  }

  /** Keys of the Services that select a pod with these labels. */
  servicesOf(namespace: string | undefined, labels: Readonly<Record<string, string>> | undefined): string[] {
    const keys: string[] = [];
    for (const key in labels) {
      for (const service of this.services.byIndex('selector', `${namespace}/${key}=${labels[key]}`)) {
        if (matchLabels(service.spec?.selector, labels)) keys.push(`${namespace}/${service.metadata.name}`);
      }
    }
    return keys;
  }

  /** Calls `touch` with the key of every Service whose endpoints a change may concern. */
  follow(touch: (serviceKey: string) => void): void {
    const touchPod = (pod: Pod): void => {
      for (const key of this.servicesOf(pod.metadata.namespace, pod.metadata.labels)) touch(key);
    };
    const touchService = (service: Service): void => touch(`${service.metadata.namespace}/${service.metadata.name}`);
    this.pods.on({
      add: touchPod,
      delete: touchPod,
      update: (before, after) => {
        if (!endpointsMayDiffer(before, after)) return;
        touchPod(after);
        if (before.metadata.labels !== after.metadata.labels) touchPod(before);
      },
    });
    this.services.on({ add: touchService, update: (_, after) => touchService(after), delete: touchService });
  }
}

/** False for the many updates of a pod that no endpoint shows: restarts, other conditions, annotations. */
function endpointsMayDiffer(before: Pod, after: Pod): boolean {
  return shown(before) !== shown(after);
}

function shown({ metadata, spec, status }: Pod): string {
  const ready = status?.conditions?.find((c) => c.type === 'Ready');
  return JSON.stringify([
    metadata.uid,
    metadata.labels,
    metadata.deletionTimestamp !== undefined,
    spec.nodeName,
    spec.hostname,
    spec.subdomain,
    status?.phase,
    status?.podIP,
    status?.podIPs,
    ready?.status,
    ready?.lastTransitionTime,
  ]);
}
