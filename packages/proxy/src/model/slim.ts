import type { EndpointSlice, Service } from '@weft/kube';
import { type Family, parseIp } from '@weft/net';
import { flat, type Packed, packAddress, packIp } from './packed.ts';
import type { Protocol, TrafficPolicy } from './types.ts';

/**
 * What the proxy keeps of a Service and of an EndpointSlice. Informers apply `slimService` and `slimSlice` while they
 * read, so that the agent never holds whole objects: 10,000 Services with 5 endpoints each fit in a few megabytes.
 */
export interface SlimPort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
  /** 0: none. */
  readonly nodePort: number;
}

/** The parts that only externally reachable Services have. */
interface SlimExternal {
  /** Texts as in the object, with their index for the field path. */
  readonly externalIPs: readonly string[];
  /** Per ingress: its address, or '' where the balancer itself answers (ipMode Proxy) or only a host name is known. */
  readonly loadBalancerIPs: readonly string[];
  readonly sourceRanges: readonly string[];
  readonly healthCheckNodePort: number;
}

export interface SlimService {
  /** `ns/name`. */
  readonly key: string;
  /** Packed ClusterIP per family, '' when the Service has none. */
  readonly ip4: Packed;
  readonly ip6: Packed;
  /** Family of `spec.clusterIPs[0]`. */
  readonly first: Family;
  readonly ports: readonly SlimPort[];
  readonly internal: TrafficPolicy;
  readonly externalPolicy: TrafficPolicy;
  /** 0: no affinity. */
  readonly affinitySeconds: number;
  readonly external: SlimExternal | undefined;
}

interface SlimSlicePort {
  readonly name: string;
  readonly protocol: Protocol;
  readonly port: number;
}

/** Bits of `SlimSlice.flags`, one char per endpoint. */
export const READY = 1;
export const SERVING = 2;
export const TERMINATING = 4;
/** On this node. */
export const LOCAL = 8;
/** The slice does not say on which node. */
export const NOWHERE = 16;

export interface SlimSlice {
  /** `ns/name` of the Service. */
  readonly service: string;
  readonly family: Family;
  readonly ports: readonly SlimSlicePort[];
  /** Packed addresses, one per endpoint. */
  readonly addresses: Packed;
  /** One char of condition bits per endpoint. */
  readonly flags: string;
  /** Zones hinted at, comma separated, one text per endpoint; undefined when the slice hints at none. */
  readonly zones: readonly string[] | undefined;
  /** Nodes hinted at, likewise. */
  readonly nodes: readonly string[] | undefined;
  /** endpoints.kubernetes.io/last-change-trigger-time, milliseconds since the epoch; 0 when not given. */
  readonly trigger: number;
}

const PROXY_NAME_LABEL = 'service.kubernetes.io/service-proxy-name';
const HEADLESS_LABEL = 'service.kubernetes.io/headless';
const SERVICE_NAME_LABEL = 'kubernetes.io/service-name';
const TRIGGER_ANNOTATION = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Label selector for the Service and EndpointSlice informers: objects other proxies serve never reach this one. */
export const PROXY_SELECTOR = `!${PROXY_NAME_LABEL},!${HEADLESS_LABEL}`;

/** API default of sessionAffinityConfig.clientIP.timeoutSeconds: three hours. */
const DEFAULT_AFFINITY_SECONDS = 10800;

function isForOthers(labels: Readonly<Record<string, string>> | undefined): boolean {
  return labels !== undefined && (PROXY_NAME_LABEL in labels || HEADLESS_LABEL in labels);
}

function isPort(port: number | undefined): port is number {
  return port !== undefined && Number.isInteger(port) && port > 0 && port < 65536;
}

// Endpoints of a slice are mostly in one condition: equal texts of bits are kept once.
const flagTexts = new Map<string, string>();

function sharedFlags(flags: string): string {
  const known = flagTexts.get(flags);
  if (known !== undefined) return known;
  const own = flat(flags);
  if (flagTexts.size < 1024) flagTexts.set(own, own);
  return own;
}

// Most Services and slices of a cluster have one of few port lists; equal lists are kept once.
const portLists = new Map<string, readonly object[]>();

function shared<T extends object>(list: readonly T[]): readonly T[] {
  const key = JSON.stringify(list);
  const known = portLists.get(key);
  if (known !== undefined) return known as readonly T[];
  // A list that grew holds room for a dozen more.
  const exact = list.slice();
  if (portLists.size < 1024) portLists.set(key, exact);
  return exact;
}

/**
 * What is kept of a Service; undefined for one that needs no rules: headless, ExternalName, without a ClusterIP, or
 * claimed by another proxy (the skip rules of kube-proxy). `key` is `ns/name`, where the caller has it already.
 */
export function slimService(service: Service, key?: string): SlimService | undefined {
  const { metadata, spec } = service;
  if (spec === undefined || spec.type === 'ExternalName' || isForOthers(metadata.labels)) return undefined;
  const ips = spec.clusterIPs?.length ? spec.clusterIPs : spec.clusterIP ? [spec.clusterIP] : [];
  if (ips.length === 0 || ips[0] === 'None' || ips[0] === '') return undefined;
  let ip4 = '';
  let ip6 = '';
  for (const text of ips) {
    const packed = packAddress(text) ?? '';
    if (packed.length === 4) ip4 = packed;
    else if (packed.length === 16) ip6 = packed;
  }
  if (ip4 === '' && ip6 === '') return undefined;
  const ports: SlimPort[] = [];
  for (const port of spec.ports ?? []) {
    ports.push({
      name: port.name ?? '',
      protocol: port.protocol ?? 'TCP',
      port: isPort(port.port) ? port.port : 0,
      nodePort: isPort(port.nodePort) ? port.nodePort : 0,
    });
  }
  const affinity = spec.sessionAffinity === 'ClientIP';
  const profile: ServiceProfile = {
    first: (ips[0] as string).includes(':') ? 6 : 4,
    ports,
    internal: spec.internalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    externalPolicy: spec.externalTrafficPolicy === 'Local' ? 'Local' : 'Cluster',
    affinitySeconds: affinity ? (spec.sessionAffinityConfig?.clientIP?.timeoutSeconds ?? DEFAULT_AFFINITY_SECONDS) : 0,
  };
  return new PackedService(
    key ?? flat(`${metadata.namespace ?? ''}/${metadata.name}`),
    ip4,
    ip6,
    // NodePorts make profiles unique: they would only fill the table.
    ports.some((port) => port.nodePort > 0) ? { ...profile, ports: ports.slice() } : sharedProfile(profile),
    slimExternal(service),
  );
}

/** What many Services of a cluster have in common. */
type ServiceProfile = Pick<SlimService, 'first' | 'ports' | 'internal' | 'externalPolicy' | 'affinitySeconds'>;

const profiles = new Map<string, ServiceProfile>();

function sharedProfile(profile: ServiceProfile): ServiceProfile {
  const key = JSON.stringify(profile);
  const known = profiles.get(key);
  if (known !== undefined) return known;
  const own = { ...profile, ports: shared(profile.ports) };
  if (profiles.size < 1024) profiles.set(key, own);
  return own;
}

class PackedService implements SlimService {
  readonly key: string;
  readonly ip4: Packed;
  readonly ip6: Packed;
  readonly profile: ServiceProfile;
  readonly external: SlimExternal | undefined;

  constructor(key: string, ip4: Packed, ip6: Packed, profile: ServiceProfile, external: SlimExternal | undefined) {
    this.key = key;
    this.ip4 = ip4;
    this.ip6 = ip6;
    this.profile = profile;
    this.external = external;
  }

  get first(): Family {
    return this.profile.first;
  }

  get ports(): readonly SlimPort[] {
    return this.profile.ports;
  }

  get internal(): TrafficPolicy {
    return this.profile.internal;
  }

  get externalPolicy(): TrafficPolicy {
    return this.profile.externalPolicy;
  }

  get affinitySeconds(): number {
    return this.profile.affinitySeconds;
  }
}

function slimExternal(service: Service): SlimExternal | undefined {
  const { spec, status } = service;
  const ingress = status?.loadBalancer?.ingress ?? [];
  const externalIPs = spec.externalIPs ?? [];
  const healthCheckNodePort = spec.healthCheckNodePort ?? 0;
  if (externalIPs.length === 0 && ingress.length === 0 && healthCheckNodePort === 0) return undefined;
  return {
    externalIPs,
    // KEP-1860: an absent ipMode means VIP.
    loadBalancerIPs: ingress.map((i) => ((i.ipMode ?? 'VIP') === 'VIP' ? (i.ip ?? '') : '')),
    sourceRanges: (spec.loadBalancerSourceRanges ?? []).map((range) => range.trim()),
    healthCheckNodePort,
  };
}

/** Loopback, link-local, multicast and unspecified addresses cannot be reached through a Service. */
function isUsable(bytes: Uint8Array): boolean {
  const [a = 0, b = 0] = bytes;
  if (bytes.length === 4) return a !== 0 && a !== 127 && a < 224 && !(a === 169 && b === 254);
  if (a === 0xff || (a === 0xfe && (b & 0xc0) === 0x80)) return false;
  return bytes.some((byte, i) => (i < 15 ? byte !== 0 : byte > 1));
}

/**
 * What is kept of an EndpointSlice, as seen from `nodeName`; undefined for one of FQDN type, without a Service, or meant
 * for another proxy. Absent conditions read as discovery/v1 defines: ready true, serving as ready, terminating false.
 */
export function slimSlice(nodeName: string): (slice: EndpointSlice) => SlimSlice | undefined {
  return (slice) => {
    const { metadata } = slice;
    const service = metadata.labels?.[SERVICE_NAME_LABEL];
    if (service === undefined || service === '' || isForOthers(metadata.labels)) return undefined;
    if (slice.addressType !== 'IPv4' && slice.addressType !== 'IPv6') return undefined;
    const family: Family = slice.addressType === 'IPv4' ? 4 : 6;
    let addresses = '';
    let flags = '';
    const zones: string[] = [];
    const nodes: string[] = [];
    for (const endpoint of slice.endpoints ?? []) {
      // The addresses of one endpoint are fungible (discovery/v1); kube-proxy uses the first.
      const ip = parseIp(endpoint.addresses[0] ?? '');
      if (ip === undefined || ip.family !== family || !isUsable(ip.bytes)) continue;
      const ready = endpoint.conditions?.ready ?? true;
      const serving = endpoint.conditions?.serving ?? ready;
      addresses += packIp(ip);
      flags += String.fromCharCode(
        (ready ? READY : 0) |
          (serving ? SERVING : 0) |
          (endpoint.conditions?.terminating === true ? TERMINATING : 0) |
          (endpoint.nodeName === undefined || endpoint.nodeName === ''
            ? NOWHERE
            : endpoint.nodeName === nodeName
              ? LOCAL
              : 0),
      );
      zones.push((endpoint.hints?.forZones ?? []).map((z) => z.name).join(','));
      nodes.push((endpoint.hints?.forNodes ?? []).map((n) => n.name).join(','));
    }
    const ports: SlimSlicePort[] = [];
    for (const port of slice.ports ?? []) {
      if (isPort(port.port)) ports.push({ name: port.name ?? '', protocol: port.protocol ?? 'TCP', port: port.port });
    }
    const trigger = Date.parse(metadata.annotations?.[TRIGGER_ANNOTATION] ?? '');
    return {
      service: flat(`${metadata.namespace ?? ''}/${service}`),
      family,
      ports: shared(ports),
      addresses: flat(addresses),
      flags: sharedFlags(flags),
      zones: zones.some((z) => z !== '') ? zones : undefined,
      nodes: nodes.some((n) => n !== '') ? nodes : undefined,
      trigger: Number.isNaN(trigger) ? 0 : trigger,
    };
  };
}
