import type { EndpointSlice, KubeObject, Namespace, Pod, Service } from '@weft/kube';

/** What DNS needs of a port of a Service or EndpointSlice. */
export interface SlimPort {
  readonly name: string;
  /** Lower case: `tcp`. */
  readonly protocol: string;
  readonly port: number;
}

/** What DNS needs of a Service. */
export interface SlimService {
  readonly namespace: string;
  readonly name: string;
  readonly kind: 'cluster' | 'headless' | 'external';
  readonly ips: readonly string[];
  readonly ports: readonly SlimPort[];
  readonly externalName: string;
  /** Addresses outside of the cluster: those of the load balancer, or its names, and `externalIPs`. */
  readonly external: readonly string[];
}

/** What DNS needs of a ready endpoint. */
export interface SlimEndpoint {
  readonly address: string;
  readonly hostname: string;
  /** Name of the Pod behind it; empty when there is none or when it is too long for a label. */
  readonly pod: string;
  /** Topology zone; only kept for zonal names. */
  readonly zone?: string;
}

/** What DNS needs of an EndpointSlice besides its endpoints. */
interface SliceHead {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly ports: readonly SlimPort[];
  /** The cluster that the endpoints are in; only of imported Services. */
  readonly cluster: string | undefined;
  /** When the change happened that made this state, in milliseconds since the epoch; 0 when not given. */
  readonly triggered: number;
}

/**
 * What DNS needs of an EndpointSlice: the endpoints that are ready. They are kept as one text and read when they are asked for:
 * a hundred thousand endpoints as objects take three times the memory, and most are never asked for by name.
 */
export class SlimSlice implements SliceHead {
  readonly namespace: string;
  readonly name: string;
  readonly service: string;
  readonly ports: readonly SlimPort[];
  readonly cluster: string | undefined;
  readonly triggered: number;
  /** Does any endpoint have a hostname? */
  readonly named: boolean;
  /** How many endpoints are ready. */
  readonly size: number;
  /** One endpoint a line: address, hostname, pod and topology zone, none of which can hold a blank. */
  readonly #packed: string;

  constructor(head: SliceHead, endpoints: readonly SlimEndpoint[]) {
    this.namespace = head.namespace;
    this.name = head.name;
    this.service = head.service;
    this.ports = head.ports;
    this.cluster = head.cluster;
    this.triggered = head.triggered;
    this.named = endpoints.some(({ hostname }) => hostname !== '');
    this.size = endpoints.length;
    const lines = endpoints.map(({ address, hostname, pod, zone }) => {
      const line = `${address} ${hostname} ${pod}`;
      return zone === undefined ? line : `${line} ${zone}`;
    });
    // Through bytes: a joined string is kept in pieces, and with it the event that they came in.
    this.#packed = Buffer.from(lines.join('\n')).toString();
  }

  get endpoints(): readonly SlimEndpoint[] {
    if (this.size === 0) return [];
    return this.#packed.split('\n').map((line) => {
      const [address = '', hostname = '', pod = '', zone] = line.split(' ');
      return zone === undefined ? { address, hostname, pod } : { address, hostname, pod, zone };
    });
  }
}

export interface SlimNamespace {
  readonly name: string;
}

export interface SlimPod {
  readonly namespace: string;
  readonly name: string;
  readonly ip: string;
  /** Only kept for metadata. */
  readonly labels?: Readonly<Record<string, string>>;
}

/** Stands for "no ports": CoreDNS answers addresses for such objects and no SRV records. */
export const NO_PORT = -1;

const TRIGGER_TIME = 'endpoints.kubernetes.io/last-change-trigger-time';
const SERVICE_NAME = 'kubernetes.io/service-name';
/** Of slices that stand for the endpoints of an imported Service. */
export const IMPORT_NAME = 'multicluster.kubernetes.io/service-name';
const SOURCE_CLUSTER = 'multicluster.kubernetes.io/source-cluster';
const NO_PORTS: readonly SlimPort[] = [{ name: '', protocol: '', port: NO_PORT }];

/**
 * Most objects have one of very few lists of ports, and every decoded event brings its own copy of each string. Shared
 * copies make tens of thousands of slices cheap; the table is dropped when odd input makes it large.
 */
const ports = new Map<string, readonly SlimPort[]>();
const names = new Map<string, string>();

function sharedPorts(list: readonly SlimPort[]): readonly SlimPort[] {
  if (list.length === 0) return NO_PORTS;
  const key = JSON.stringify(list);
  const known = ports.get(key);
  if (known !== undefined) return known;
  if (ports.size > 4096) ports.clear();
  ports.set(key, list);
  return list;
}

function sharedName(name: string): string {
  const known = names.get(name);
  if (known !== undefined) return known;
  if (names.size > 16_384) names.clear();
  names.set(name, name);
  return name;
}

interface AnyPort {
  readonly name?: string;
  readonly protocol?: string;
  readonly port?: number;
}

function slimPorts(list: readonly AnyPort[] | null | undefined): readonly SlimPort[] {
  return sharedPorts(
    (list ?? []).map((port) => ({
      name: (port.name ?? '').toLowerCase(),
      protocol: (port.protocol ?? 'TCP').toLowerCase(),
      port: port.port ?? 0,
    })),
  );
}

export function slimService(service: Service): SlimService {
  const { spec } = service;
  const ips = (spec.clusterIPs?.length ? spec.clusterIPs : [spec.clusterIP ?? '']).filter((ip) => ip !== '');
  const headless = ips.includes('None');
  return {
    namespace: sharedName(service.metadata.namespace ?? ''),
    name: sharedName(service.metadata.name),
    kind: spec.type === 'ExternalName' ? 'external' : headless ? 'headless' : 'cluster',
    ips: headless ? [] : ips,
    ports: slimPorts(spec.ports),
    externalName: spec.externalName ?? '',
    external: externalAddresses(service),
  };
}

const NO_ADDRESSES: readonly string[] = [];

function externalAddresses({ spec, status }: Service): readonly string[] {
  const ingress = (status?.loadBalancer?.ingress ?? []).map(({ ip, hostname }) => ip || hostname || '');
  const all = [...(spec.externalIPs ?? []), ...ingress].filter((address) => address !== '');
  return all.length === 0 ? NO_ADDRESSES : all;
}

/** A Service of several clusters (Multi-Cluster Services API, multicluster.x-k8s.io/v1alpha1). */
export interface ServiceImport extends KubeObject {
  readonly spec?: {
    readonly type?: 'ClusterSetIP' | 'Headless';
    readonly ips?: readonly string[];
    readonly ports?: readonly AnyPort[];
  };
}

/** An imported Service reads as a Service does. */
export function slimImport({ metadata, spec }: ServiceImport): SlimService {
  return {
    namespace: sharedName(metadata.namespace ?? ''),
    name: sharedName(metadata.name),
    kind: spec?.type === 'Headless' ? 'headless' : 'cluster',
    ips: spec?.type === 'Headless' ? [] : (spec?.ips ?? []),
    ports: slimPorts(spec?.ports),
    externalName: '',
    external: NO_ADDRESSES,
  };
}

/** Undefined for a slice that belongs to no Service. With `zones` it keeps where endpoints are. */
export function slimSlice(slice: EndpointSlice, zones = false): SlimSlice | undefined {
  return slimmed(slice, SERVICE_NAME, zones);
}

/** Undefined for a slice that belongs to no imported Service. */
export function slimImportedSlice(slice: EndpointSlice): SlimSlice | undefined {
  return slimmed(slice, IMPORT_NAME, false, slice.metadata.labels?.[SOURCE_CLUSTER] ?? '');
}

function slimmed(slice: EndpointSlice, label: string, zones: boolean, cluster?: string): SlimSlice | undefined {
  const service = slice.metadata.labels?.[label];
  if (service === undefined || service === '') return undefined;
  const endpoints: SlimEndpoint[] = [];
  for (const endpoint of slice.endpoints ?? []) {
    // An unknown state counts as ready (EndpointConditions, discovery.k8s.io/v1).
    if (endpoint.conditions?.ready === false) continue;
    const pod = endpoint.targetRef?.name ?? '';
    for (const address of endpoint.addresses ?? []) {
      const slim = { address, hostname: endpoint.hostname ?? '', pod: pod.length < 64 ? pod : '' };
      endpoints.push(zones && endpoint.zone !== undefined ? { ...slim, zone: sharedName(endpoint.zone) } : slim);
    }
  }
  const head = {
    namespace: sharedName(slice.metadata.namespace ?? ''),
    name: slice.metadata.name,
    service: sharedName(service),
    ports: slimPorts(slice.ports),
    cluster,
    triggered: Date.parse(slice.metadata.annotations?.[TRIGGER_TIME] ?? '') || 0,
  };
  return new SlimSlice(head, endpoints);
}

export function slimNamespace(namespace: Namespace): SlimNamespace {
  return { name: namespace.metadata.name };
}

/** Undefined for a Pod without an address, or with the address of its node. */
export function slimPod(pod: Pod, labels = false): SlimPod | undefined {
  const ip = pod.status?.podIP;
  if (ip === undefined || ip === '' || pod.metadata.deletionTimestamp !== undefined) return undefined;
  const slim = { namespace: sharedName(pod.metadata.namespace ?? ''), name: pod.metadata.name, ip };
  return labels && pod.metadata.labels !== undefined ? { ...slim, labels: pod.metadata.labels } : slim;
}
