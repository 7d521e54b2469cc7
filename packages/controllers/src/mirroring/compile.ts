import { type Endpoint, type EndpointAddress, type Endpoints, type EndpointPort, wellKnown } from '@weft/kube';
import { type AddressType, addressTypeOf, type EndpointGroup, portListKey } from '../endpointslice/compile.ts';

/** The most addresses of one subset that are mirrored (`--mirroring-max-endpoints-per-subset`). */
const MAX_MIRRORED = 1000;

/** Annotations and labels of Endpoints that say something about that object only. */
const NOT_MIRRORED = new Set<string>([
  wellKnown.annotations.lastAppliedConfiguration,
  wellKnown.annotations.endpointsLastChangeTriggerTime,
]);

/** The endpoints that mirrored slices of `endpoints` must hold. Host names and addresses that are no IP are left out. */
export function compileMirror(endpoints: Endpoints): EndpointGroup[] {
  const groups = new Map<string, { addressType: AddressType; ports: EndpointPort[]; endpoints: Endpoint[] }>();
  for (const subset of endpoints.subsets ?? []) {
    const ports: EndpointPort[] = (subset.ports ?? []).map((p) => ({
      name: p.name ?? '',
      protocol: p.protocol ?? 'TCP',
      port: p.port,
      ...(p.appProtocol === undefined ? {} : { appProtocol: p.appProtocol }),
    }));
    let left = MAX_MIRRORED;
    const add = (address: EndpointAddress, ready: boolean): void => {
      if (left-- <= 0) return;
      const addressType = addressTypeOf(address.ip);
      const id = `${addressType} ${portListKey(ports)}`;
      let group = groups.get(id);
      if (group === undefined) groups.set(id, (group = { addressType, ports, endpoints: [] }));
      group.endpoints.push({
        addresses: [address.ip],
        conditions: { ready },
        ...(address.hostname ? { hostname: address.hostname } : {}),
        ...(address.targetRef === undefined ? {} : { targetRef: address.targetRef }),
        ...(address.nodeName ? { nodeName: address.nodeName } : {}),
      });
    };
    for (const address of subset.addresses ?? []) add(address, true);
    for (const address of subset.notReadyAddresses ?? []) add(address, false);
  }
  return [...groups.values()];
}

/** Labels of mirrored slices: those of the Endpoints, and whose they are. */
export function mirrorLabels(endpoints: Endpoints): Record<string, string> {
  return {
    ...endpoints.metadata.labels,
    [wellKnown.labels.serviceName]: endpoints.metadata.name,
    [wellKnown.labels.endpointSliceManagedBy]: wellKnown.endpointSliceManagers.mirroring,
  };
}

/** Annotations that are copied to mirrored slices. */
export function mirrorAnnotations(endpoints: Endpoints): Record<string, string> {
  return Object.fromEntries(Object.entries(endpoints.metadata.annotations ?? {}).filter(([k]) => !NOT_MIRRORED.has(k)));
}
