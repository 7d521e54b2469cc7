import { type Ip, parseIp, parsePrefix, prefixContains } from '@weft/net';
import { endpointWidth, formatEndpoint, type Packed, packIp, portOf, unpackList } from '../model/packed.ts';
import { type Frontend, frontendAddress, type ServicePort } from '../model/types.ts';

/** Where a packet comes from. */
export interface PacketSource {
  readonly kind: 'pod' | 'node' | 'outside';
  readonly address: string;
}

/** What becomes of the first packet of a connection, and which field decides. */
export interface Decision {
  readonly verdict: 'serve' | 'refuse' | 'drop';
  /** `ip:port` of all who may answer. */
  readonly endpoints: readonly string[];
  /** What the server sees as the client: its address, or the node's. */
  readonly source: 'kept' | 'node';
  /** Endpoints that would meet themselves: for them the source is the node. */
  readonly hairpin: readonly string[];
  readonly because: string;
}

/** How packets that come from pods are told; what a plane's configuration says. */
export interface Detection {
  readonly masqueradeAll: boolean;
  /** Whether pods can be told from others at all. */
  readonly detects: boolean;
}

/** Follows a packet from `source` to a frontend of the port, by the plan alone. Pure. */
export function decide(port: ServicePort, frontend: Frontend, source: PacketSource, detection: Detection): Decision {
  const ip = parseIp(source.address);
  const none = { endpoints: [], source: 'kept', hairpin: [] } as const;
  if (!port.hasEndpoints) {
    return {
      ...none,
      verdict: 'refuse',
      because: 'no endpoint is ready, nor serving while it terminates (EndpointSlice conditions)',
    };
  }
  const serve = (list: Packed, masquerade: boolean, because: string): Decision => {
    const endpoints = unpackList(list, endpointWidth(port.family));
    const own = ip === undefined ? '' : packIp(ip);
    return {
      verdict: 'serve',
      endpoints: endpoints.map(formatEndpoint),
      source: masquerade ? 'node' : 'kept',
      hairpin: masquerade ? [] : endpoints.filter((e) => e.slice(0, -2) === own).map(formatEndpoint),
      because,
    };
  };
  if (frontend.kind === 'ClusterIP') {
    const local = port.internal === 'Local';
    const list = local ? port.local : port.cluster;
    const policy = `spec.internalTrafficPolicy ${port.internal}`;
    if (list === '') return { ...none, verdict: 'drop', because: `${policy}, and this node has no endpoint` };
    if (detection.masqueradeAll) return serve(list, true, `${policy}; masqueradeAll`);
    const masquerade = detection.detects && source.kind !== 'pod';
    return serve(list, masquerade, masquerade ? `${policy}; the client is no pod` : policy);
  }
  if (frontend.kind === 'LoadBalancerIP' && port.sourceRanges.length > 0 && !inRanges(ip, port.sourceRanges)) {
    return { ...none, verdict: 'drop', because: `spec.loadBalancerSourceRanges does not hold ${source.address}` };
  }
  const policy = `spec.externalTrafficPolicy ${port.external}`;
  if (port.external === 'Cluster') return serve(port.cluster, true, policy);
  if (source.kind === 'pod' && detection.detects)
    return serve(port.cluster, false, `${policy}, but pods may go on to any node`);
  if (source.kind === 'node') return serve(port.cluster, true, `${policy}, but the node itself may go on to any node`);
  if (port.local === '') return { ...none, verdict: 'drop', because: `${policy}, and this node has no endpoint` };
  return serve(port.local, false, policy);
}

function inRanges(ip: Ip | undefined, ranges: readonly string[]): boolean {
  if (ip === undefined) return false;
  return ranges.some((text) => {
    const prefix = parsePrefix(text);
    return prefix !== undefined && prefix.ip.family === ip.family && prefixContains(prefix, ip);
  });
}

/** `10.96.0.1:80`, or `node:30080` for a NodePort. */
export function frontendText({ kind, key }: Frontend): string {
  if (kind === 'NodePort') return `node:${portOf(key)}`;
  return formatEndpoint(frontendAddress(key) + key.slice(-2));
}
