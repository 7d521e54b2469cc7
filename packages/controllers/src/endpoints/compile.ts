import {
  type EndpointAddress,
  type Endpoints,
  type EndpointsPort,
  type EndpointSubset,
  type Pod,
  type Service,
  wellKnown,
} from '@weft/kube';
import { addressTypeOf, endpointHostname, portListKey, portsOf } from '../endpointslice/compile.ts';
import { isPodReady, isPodTerminal, podAddresses } from '../pods.ts';
import { isHeadless } from '../services.ts';

/** The most addresses of one Endpoints object; the rest is cut off and the object says so. */
export const MAX_ADDRESSES = 1000;

/** The label that core/v1 Endpoints of this controller carry since Kubernetes 1.33. */
const MANAGED_BY = 'endpoints.kubernetes.io/managed-by';
const MANAGER = 'endpoint-controller';

/** What an Endpoints object has to hold. */
export interface DesiredEndpoints {
  readonly subsets: EndpointSubset[];
  readonly labels: Record<string, string>;
  readonly truncated: boolean;
}

/**
 * The Endpoints of a Service: addresses of its primary family, those with equal ports in one subset. Pods that are
 * ending are left out unless the Service publishes addresses that are not ready.
 */
export function compileEndpoints(service: Service, pods: readonly Pod[]): DesiredEndpoints {
  const all = service.spec?.publishNotReadyAddresses === true;
  const families = new Map<
    string,
    EndpointSubset & { addresses: EndpointAddress[]; notReadyAddresses: EndpointAddress[] }
  >();
  for (const pod of pods) {
    if (isPodTerminal(pod) || (pod.metadata.deletionTimestamp !== undefined && !all)) continue;
    const ip = primaryAddress(service, pod);
    if (ip === undefined) continue;
    const ports: EndpointsPort[] = portsOf(service, pod).map(({ name, port = 0, protocol, appProtocol }) => ({
      ...(name ? { name } : {}),
      port,
      ...(protocol === undefined ? {} : { protocol }),
      ...(appProtocol === undefined ? {} : { appProtocol }),
    }));
    // Without a port there is nothing to connect to, except by name in DNS.
    if (ports.length === 0 && !(isHeadless(service) && (service.spec?.ports ?? []).length === 0)) continue;
    const id = portListKey(ports);
    let subset = families.get(id);
    if (subset === undefined) families.set(id, (subset = { addresses: [], notReadyAddresses: [], ports }));
    (all || isPodReady(pod) ? subset.addresses : subset.notReadyAddresses).push(addressOf(service, pod, ip));
  }
  const subsets = [...families].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, subset]) => subset);
  for (const subset of subsets) {
    subset.addresses.sort(byAddress);
    subset.notReadyAddresses.sort(byAddress);
  }
  const truncated = truncate(subsets);
  return { subsets: subsets.map(withoutEmpty), labels: endpointsLabels(service), truncated };
}

function endpointsLabels(service: Service): Record<string, string> {
  const labels: Record<string, string> = { ...service.metadata.labels };
  if (isHeadless(service)) labels[wellKnown.labels.headless] = '';
  else delete labels[wellKnown.labels.headless];
  labels[MANAGED_BY] = MANAGER;
  return labels;
}

function primaryAddress(service: Service, pod: Pod): string | undefined {
  const addresses = podAddresses(pod);
  const { ipFamilies, clusterIP } = service.spec ?? {};
  const family = ipFamilies?.[0] ?? (clusterIP && clusterIP !== 'None' ? addressTypeOf(clusterIP) : undefined);
  return family === undefined ? addresses[0] : addresses.find((ip) => addressTypeOf(ip) === family);
}

function addressOf(service: Service, pod: Pod, ip: string): EndpointAddress {
  const { name, namespace, uid } = pod.metadata;
  const hostname = endpointHostname(service, pod);
  return {
    ...(hostname === undefined ? {} : { hostname }),
    ip,
    ...(pod.spec.nodeName ? { nodeName: pod.spec.nodeName } : {}),
    targetRef: {
      kind: 'Pod',
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
    },
  };
}

function byAddress(a: EndpointAddress, b: EndpointAddress): number {
  const [x, y] = a.ip === b.ip ? [a.targetRef?.uid ?? '', b.targetRef?.uid ?? ''] : [a.ip, b.ip];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** Cuts to MAX_ADDRESSES: ready addresses first, each subset in proportion to its size. True when something was cut. */
function truncate(subsets: { addresses: EndpointAddress[]; notReadyAddresses: EndpointAddress[] }[]): boolean {
  const ready = subsets.reduce((n, s) => n + s.addresses.length, 0);
  const notReady = subsets.reduce((n, s) => n + s.notReadyAddresses.length, 0);
  if (ready + notReady <= MAX_ADDRESSES) return false;
  cut(subsets, 'addresses', ready, Math.min(ready, MAX_ADDRESSES));
  cut(subsets, 'notReadyAddresses', notReady, Math.max(0, MAX_ADDRESSES - ready));
  return true;
}

function cut<K extends 'addresses' | 'notReadyAddresses'>(
  subsets: Record<K, EndpointAddress[]>[],
  field: K,
  total: number,
  allowed: number,
): void {
  if (total <= allowed) return;
  let left = allowed;
  for (const subset of subsets) {
    const share = Math.min(left, Math.ceil((subset[field].length * allowed) / total));
    subset[field].length = Math.min(subset[field].length, share);
    left -= subset[field].length;
  }
}

function withoutEmpty(subset: EndpointSubset): EndpointSubset {
  return {
    ...(subset.addresses?.length ? { addresses: subset.addresses } : {}),
    ...(subset.notReadyAddresses?.length ? { notReadyAddresses: subset.notReadyAddresses } : {}),
    ...(subset.ports?.length ? { ports: subset.ports } : {}),
  };
}

/** True when the object holds what it must: nothing has to be written. */
export function sameSubsets(
  a: Endpoints['subsets'],
  b: Endpoints['subsets'],
  same: (a: unknown, b: unknown) => boolean,
): boolean {
  return same((a ?? []).filter(hasAddress).map(withoutEmpty), (b ?? []).filter(hasAddress).map(withoutEmpty));
}

function hasAddress(subset: EndpointSubset): boolean {
  return (subset.addresses?.length ?? 0) + (subset.notReadyAddresses?.length ?? 0) > 0;
}

/** True for Endpoints that this controller has made. */
export function isManaged(endpoints: Endpoints): boolean {
  return endpoints.metadata.labels?.[MANAGED_BY] === MANAGER;
}
