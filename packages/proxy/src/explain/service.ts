import type { Endpoint, EndpointSlice, Node, Service } from '@weft/kube';
import { type Family, parseIp } from '@weft/net';
import type { Entry } from '@weft/plan';
import { compileService } from '../model/compile.ts';
import { nodeFacts } from '../model/node.ts';
import {
  endpointWidth,
  formatEndpoint,
  type Packed,
  packAddress,
  packPort,
  portOf,
  unpackList,
} from '../model/packed.ts';
import { slimService, slimSlice } from '../model/slim.ts';
import {
  frontendAddress,
  type FrontendKind,
  type Planned,
  type Protocol,
  type ServicePort,
  type TrafficPolicy,
} from '../model/types.ts';

/** The objects that decide what becomes of one Service. */
export interface ServiceObjects {
  readonly service: Service;
  /** All slices of its namespace, or only its own. */
  readonly slices: readonly EndpointSlice[];
}

interface FrontendReport {
  readonly kind: FrontendKind;
  /** `10.96.0.1:80`; for a NodePort `*:30080`. */
  readonly address: string;
  readonly policy: TrafficPolicy;
  /** Field of the Service it comes from. */
  readonly field: string;
}

export interface BackendReport {
  /** `10.244.0.11:8080`. */
  readonly endpoint: string;
  /** EndpointSlice and index, as `web-abc endpoints[0]`. */
  readonly from: string;
  readonly target: string | undefined;
  readonly node: string | undefined;
  readonly zone: string | undefined;
  readonly state: 'ready' | 'serving, terminating' | 'terminating' | 'not ready';
  /** Gets traffic of frontends of the Cluster policy, and of the Local policy, on the node that is looked at. */
  readonly cluster: boolean;
  readonly local: boolean;
  /** Why it is in or out, naming the field that decides. */
  readonly why: string;
}

/** One port of a Service in one family, as one node sees it. */
export interface PortReport {
  readonly port: string;
  readonly protocol: Protocol;
  readonly family: Family;
  readonly frontends: readonly FrontendReport[];
  readonly backends: readonly BackendReport[];
  readonly affinitySeconds: number;
  readonly sourceRanges: readonly string[];
  readonly healthCheckNodePort: number;
}

export interface ServiceReport {
  readonly service: string;
  readonly node: string;
  /** Why no data plane has anything for it; undefined when it is served. */
  readonly unserved: string | undefined;
  readonly ports: readonly PortReport[];
}

/** The plan of one Service on one node: the very entries that its data plane is given. */
export function planOf(
  objects: ServiceObjects,
  node: Node,
  families: readonly Family[] = [4, 6],
): ReadonlyMap<string, Entry<Planned>> {
  const service = slimService(objects.service);
  if (service === undefined) return new Map();
  const slim = slimSlice(node.metadata.name);
  const slices = objects.slices.map(slim).filter((s) => s !== undefined && s.service === service.key);
  return compileService(service, slices as NonNullable<(typeof slices)[number]>[], nodeFacts(node), families);
}

/** Everything that `weft service` says of a Service on a node. Pure. */
export function explainService(objects: ServiceObjects, node: Node): ServiceReport {
  const { metadata } = objects.service;
  const ports = [...planOf(objects, node).values()].map((entry) =>
    portReport(entry.value as ServicePort, objects, node),
  );
  return {
    service: `${metadata.namespace ?? ''}/${metadata.name}`,
    node: node.metadata.name,
    unserved: ports.length > 0 ? undefined : whyUnserved(objects.service),
    ports,
  };
}

function whyUnserved({ metadata, spec }: Service): string {
  const other = metadata.labels?.['service.kubernetes.io/service-proxy-name'];
  if (other !== undefined) return `label service.kubernetes.io/service-proxy-name=${other}: another proxy serves it`;
  if (metadata.labels !== undefined && 'service.kubernetes.io/headless' in metadata.labels)
    return 'label service.kubernetes.io/headless';
  if (spec.type === 'ExternalName')
    return `spec.type ExternalName: names only, DNS answers with ${spec.externalName ?? ''}`;
  if (spec.clusterIP === 'None') return 'spec.clusterIP None: headless, DNS answers with the endpoints';
  if ((spec.ports ?? []).length === 0) return 'spec.ports is empty';
  return 'spec.clusterIP is not set yet';
}

function portReport(port: ServicePort, objects: ServiceObjects, node: Node): PortReport {
  return {
    port: port.portName,
    protocol: port.protocol,
    family: port.family,
    frontends: port.frontends.map(({ kind, key, field }) => ({
      kind,
      address: kind === 'NodePort' ? `*:${portOf(key)}` : formatEndpoint(frontendAddress(key) + key.slice(-2)),
      policy: kind === 'ClusterIP' ? port.internal : port.external,
      field,
    })),
    backends: backends(port, objects, node),
    affinitySeconds: port.affinitySeconds,
    sourceRanges: port.sourceRanges,
    healthCheckNodePort: port.healthCheckNodePort,
  };
}

function backends(port: ServicePort, { service, slices }: ServiceObjects, node: Node): BackendReport[] {
  const width = endpointWidth(port.family);
  const cluster = new Set(unpackList(port.cluster, width));
  const local = new Set(unpackList(port.local, width));
  const out: BackendReport[] = [];
  const seen = new Map<Packed, string>();
  for (const slice of slices) {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== service.metadata.name) continue;
    if (slice.metadata.namespace !== service.metadata.namespace) continue;
    if (slice.addressType !== `IPv${port.family}`) continue;
    for (const slicePort of slice.ports ?? []) {
      if ((slicePort.name ?? '') !== port.portName || (slicePort.protocol ?? 'TCP') !== port.protocol) continue;
      (slice.endpoints ?? []).forEach((endpoint, index) => {
        const from = `${slice.metadata.name} endpoints[${index}]`;
        const packed = packEndpoint(endpoint, slicePort.port, port.family);
        const text =
          packed === undefined ? `${endpoint.addresses[0] ?? ''}:${slicePort.port ?? ''}` : formatEndpoint(packed);
        const inCluster = packed !== undefined && cluster.has(packed);
        const inLocal = packed !== undefined && local.has(packed);
        const twin = packed === undefined ? undefined : seen.get(packed);
        if (packed !== undefined) seen.set(packed, from);
        out.push({
          endpoint: text,
          from,
          target:
            endpoint.targetRef === undefined ? undefined : `${endpoint.targetRef.kind}/${endpoint.targetRef.name}`,
          node: endpoint.nodeName,
          zone: endpoint.zone,
          state: stateOf(endpoint),
          cluster: inCluster,
          local: inLocal,
          why:
            twin === undefined
              ? why(endpoint, { inCluster, inLocal, usable: packed !== undefined, port, node })
              : `also ${twin}: counted once`,
        });
      });
    }
  }
  return out;
}

function packEndpoint(endpoint: Endpoint, port: number | undefined, family: Family): Packed | undefined {
  const text = endpoint.addresses[0] ?? '';
  if (port === undefined || port < 1 || port > 65535 || parseIp(text)?.family !== family) return undefined;
  const address = packAddress(text);
  return address === undefined ? undefined : address + packPort(port);
}

function stateOf({ conditions }: Endpoint): BackendReport['state'] {
  const ready = conditions?.ready ?? true;
  if (ready) return 'ready';
  const serving = conditions?.serving ?? ready;
  if (conditions?.terminating !== true) return 'not ready';
  return serving ? 'serving, terminating' : 'terminating';
}

interface Facts {
  readonly inCluster: boolean;
  readonly inLocal: boolean;
  readonly usable: boolean;
  readonly port: ServicePort;
  readonly node: Node;
}

function why(endpoint: Endpoint, { inCluster, inLocal, usable, port, node }: Facts): string {
  const here = endpoint.nodeName === node.metadata.name;
  const state = stateOf(endpoint);
  const usesLocal = port.internal === 'Local' || port.external === 'Local';
  if (inCluster || inLocal) {
    const kind =
      inCluster && inLocal ? '' : usesLocal ? (inLocal ? ' for the Local policy' : ' for the Cluster policy') : '';
    return state === 'ready'
      ? `in${kind}: conditions.ready`
      : `in${kind}: conditions.serving, and no endpoint is ready`;
  }
  if (!usable)
    return `out: addresses[0] ${endpoint.addresses[0] ?? 'is missing'} or its port is none of IPv${port.family}`;
  switch (state) {
    case 'not ready':
      return 'out: conditions.ready is false';
    case 'terminating':
      return 'out: conditions.terminating, and conditions.serving is false';
    case 'serving, terminating':
      return 'out: conditions.terminating, and others are ready';
    case 'ready': {
      if (port.cluster === '' && !here)
        return `out: spec.${port.internal === 'Local' ? 'internal' : 'external'}TrafficPolicy Local, and it is on node ${endpoint.nodeName ?? '<unknown>'}`;
      const zones = endpoint.hints?.forZones?.map((z) => z.name).join(', ');
      const nodes = endpoint.hints?.forNodes?.map((n) => n.name).join(', ');
      if (nodes !== undefined) return `out: hints.forNodes ${nodes}`;
      if (zones !== undefined) return `out: hints.forZones ${zones}`;
      return `out: its address is loopback, link-local, multicast or unspecified`;
    }
  }
}
