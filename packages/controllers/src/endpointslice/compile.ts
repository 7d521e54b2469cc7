import { parseIp } from '@weft/net';
import { type Endpoint, type EndpointPort, type Node, type Pod, type Service, wellKnown } from '@weft/kube';
import { isPodReady, isPodTerminal, podAddresses } from '../pods.ts';
import { isHeadless } from '../services.ts';

export type AddressType = 'IPv4' | 'IPv6';

/** The endpoints of one Service that share one list of ports, of one address family. */
export interface EndpointGroup {
  readonly addressType: AddressType;
  readonly ports: readonly EndpointPort[];
  readonly endpoints: readonly Endpoint[];
}

/** What the slices of a Service have to hold. */
export interface DesiredSlices {
  readonly addressTypes: readonly AddressType[];
  readonly groups: readonly EndpointGroup[];
  readonly labels: Readonly<Record<string, string>>;
}

/**
 * The endpoints of a Service, grouped by family and ports, in the order of the pods' names.
 *
 * Pods whose named target port resolves to different numbers are in different groups. A pod without address, one that
 * has ended, and one on a node that does not exist are left out (the EndpointSlice controller of Kubernetes 1.33).
 */
export function compileSlices(
  service: Service,
  pods: readonly Pod[],
  nodeOf: (name: string) => Node | undefined,
): DesiredSlices {
  const addressTypes = addressTypesOf(service, pods);
  const groups = new Map<string, { addressType: AddressType; ports: EndpointPort[]; endpoints: Endpoint[] }>();
  const sorted = [...pods].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1));
  for (const pod of sorted) {
    if (isPodTerminal(pod)) continue;
    const addresses = podAddresses(pod);
    if (addresses.length === 0) continue;
    const node = pod.spec.nodeName === undefined ? undefined : nodeOf(pod.spec.nodeName);
    if (node === undefined && service.spec?.publishNotReadyAddresses !== true) continue;
    const ports = portsOf(service, pod);
    const portsKey = portListKey(ports);
    for (const addressType of addressTypes) {
      const own = addresses.filter((ip) => addressTypeOf(ip) === addressType);
      if (own.length === 0) continue;
      const id = `${addressType} ${portsKey}`;
      let group = groups.get(id);
      if (group === undefined) groups.set(id, (group = { addressType, ports, endpoints: [] }));
      group.endpoints.push(endpointOf(service, pod, own, node));
    }
  }
  return { addressTypes, groups: [...groups.values()], labels: sliceLabels(service) };
}

/** Labels of the Service, and those that say whose slice it is. */
function sliceLabels(service: Service): Record<string, string> {
  const { labels } = wellKnown;
  const out: Record<string, string> = { ...service.metadata.labels };
  delete out[labels.headless];
  if (isHeadless(service)) out[labels.headless] = '';
  out[labels.serviceName] = service.metadata.name;
  out[labels.endpointSliceManagedBy] = wellKnown.endpointSliceManagers.controller;
  return out;
}

/** The families of a Service. One without (written by an old client) has those of its cluster IP, or of its pods. */
function addressTypesOf(service: Service, pods: readonly Pod[]): AddressType[] {
  const { ipFamilies, clusterIP } = service.spec ?? {};
  if (ipFamilies !== undefined && ipFamilies.length > 0) return [...ipFamilies];
  if (clusterIP !== undefined && clusterIP !== '' && clusterIP !== 'None') return [addressTypeOf(clusterIP)];
  const found = new Set(pods.flatMap((pod) => podAddresses(pod).map(addressTypeOf)));
  return found.size === 0 ? ['IPv4'] : [...found].sort();
}

export function addressTypeOf(ip: string): AddressType {
  return parseIp(ip)?.family === 6 ? 'IPv6' : 'IPv4';
}

function endpointOf(service: Service, pod: Pod, addresses: string[], node: Node | undefined): Endpoint {
  const { name, namespace, uid } = pod.metadata;
  const serving = isPodReady(pod);
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  // A pod that is ending is never ready, unless all are published anyway.
  const ready = service.spec?.publishNotReadyAddresses === true || (serving && !terminating);
  const endpoint: Endpoint = { addresses, conditions: { ready, serving, terminating } };
  const hostname = endpointHostname(service, pod);
  if (hostname !== undefined) endpoint.hostname = hostname;
  endpoint.targetRef = {
    kind: 'Pod',
    ...(namespace === undefined ? {} : { namespace }),
    name,
    ...(uid === undefined ? {} : { uid }),
  };
  if (pod.spec.nodeName) endpoint.nodeName = pod.spec.nodeName;
  const zone = node?.metadata.labels?.[wellKnown.labels.zone];
  if (zone) endpoint.zone = zone;
  const hints = hintsOf(service, endpoint, ready);
  if (hints !== undefined) endpoint.hints = hints;
  return endpoint;
}

/** The name that DNS gives the pod below the Service: only when the pod asks for exactly this Service. */
export function endpointHostname(service: Service, pod: Pod): string | undefined {
  return pod.spec.hostname && pod.spec.subdomain === service.metadata.name ? pod.spec.hostname : undefined;
}

/** `spec.trafficDistribution` (KEP-4444, KEP-3015): each ready endpoint is hinted to its own zone, or to its node. */
function hintsOf(service: Service, endpoint: Endpoint, ready: boolean): Endpoint['hints'] {
  const distribution = service.spec?.trafficDistribution;
  if (!ready || distribution === undefined) return undefined;
  const forZones = endpoint.zone === undefined ? {} : { forZones: [{ name: endpoint.zone }] };
  if (distribution === 'PreferSameNode') {
    return endpoint.nodeName === undefined ? undefined : { ...forZones, forNodes: [{ name: endpoint.nodeName }] };
  }
  if (distribution !== 'PreferClose' && distribution !== 'PreferSameZone') return undefined;
  return endpoint.zone === undefined ? undefined : forZones;
}

/** The ports of the Service as this pod serves them; those that the pod does not name are left out. */
export function portsOf(service: Service, pod: Pod): EndpointPort[] {
  const out: EndpointPort[] = [];
  for (const servicePort of service.spec?.ports ?? []) {
    const port = targetPortOf(servicePort, pod);
    if (port === undefined) continue;
    const entry: EndpointPort = { name: servicePort.name ?? '', protocol: servicePort.protocol ?? 'TCP', port };
    if (servicePort.appProtocol !== undefined) entry.appProtocol = servicePort.appProtocol;
    out.push(entry);
  }
  return out;
}

/** The number of a `targetPort` on a pod: a number itself, or the container port of that name and protocol. */
function targetPortOf(
  { targetPort, port, protocol = 'TCP' }: NonNullable<NonNullable<Service['spec']>['ports']>[number],
  pod: Pod,
): number | undefined {
  if (targetPort === undefined || targetPort === 0 || targetPort === '') return port;
  if (typeof targetPort === 'number') return targetPort;
  const sidecars = (pod.spec.initContainers ?? []).filter((c) => c.restartPolicy === 'Always');
  for (const container of [...pod.spec.containers, ...sidecars]) {
    for (const p of container.ports ?? []) {
      if (p.name === targetPort && (p.protocol ?? 'TCP') === protocol) return p.containerPort;
    }
  }
  return undefined;
}

/** Equal for equal lists of ports, in whatever order. */
export function portListKey(ports: readonly EndpointPort[] | undefined | null): string {
  return (ports ?? [])
    .map((p) => JSON.stringify([p.name ?? '', p.protocol ?? 'TCP', p.port ?? null, p.appProtocol ?? null]))
    .sort()
    .join();
}
