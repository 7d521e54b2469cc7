import type { Family } from '@weft/net';
import { flat, type Packed } from './packed.ts';

export type Protocol = 'TCP' | 'UDP' | 'SCTP';
export type TrafficPolicy = 'Cluster' | 'Local';
export type FrontendKind = 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancerIP';

/** Where clients reach a service port. */
export interface Frontend {
  readonly kind: FrontendKind;
  /** Packed address (none for a NodePort) + one char of protocol number + two of port; see `frontendKey`. */
  readonly key: Packed;
  /** Field of the Service it comes from, for example `spec.clusterIPs[0]`. */
  readonly field: string;
}

/**
 * One port of one Service in one family: what every data plane has to bring about. It names no kernel object, so that a
 * plan can be shown, compared and given to any of them.
 */
export interface ServicePort {
  readonly type: 'ServicePort';
  readonly family: Family;
  /** `ns/name` of the Service. */
  readonly service: string;
  /** Name of the port, '' when it has none. */
  readonly portName: string;
  readonly protocol: Protocol;
  readonly frontends: readonly Frontend[];
  /** Policy of the ClusterIP: internalTrafficPolicy. */
  readonly internal: TrafficPolicy;
  /** Policy of all other frontends: externalTrafficPolicy. */
  readonly external: TrafficPolicy;
  /** Whether any endpoint anywhere could serve; false: every frontend refuses. */
  readonly hasEndpoints: boolean;
  /** Packed endpoints of the Cluster policy, sorted; empty when no frontend uses that policy. */
  readonly cluster: Packed;
  /** Packed endpoints of the Local policy, sorted; empty when no frontend uses that policy. */
  readonly local: Packed;
  /** UDP only: packed endpoints that still serve but get no new flows, whose flows must be left alone. */
  readonly draining: Packed;
  /** Packed addresses of endpoints whose own connections to this port may come back to them on this node. */
  readonly hairpin: Packed;
  /** Seconds a client stays with an endpoint (sessionAffinity ClientIP); 0: no affinity. */
  readonly affinitySeconds: number;
  /** Sorted CIDRs that may use the load balancer addresses; empty: everyone. */
  readonly sourceRanges: readonly string[];
  /** healthCheckNodePort, or 0. */
  readonly healthCheckNodePort: number;
  /** Ready endpoints on this node, counted for health checks only (0 otherwise). */
  readonly localReady: number;
}

/** An address of this node on which NodePorts answer. */
export interface NodePortAddress {
  readonly type: 'NodePortAddress';
  readonly family: Family;
  readonly address: Packed;
}

/** One entry of the plan of Services. */
export type Planned = ServicePort | NodePortAddress;

/** One char that carries the protocol number. */
const PROTOCOL_CHAR: Readonly<Record<Protocol, string>> = {
  TCP: String.fromCharCode(6),
  UDP: String.fromCharCode(17),
  SCTP: String.fromCharCode(132),
};

/** Key of a frontend; `address` is packed, '' for a NodePort. */
export function frontendKey(address: Packed, protocol: Protocol, port: number): Packed {
  return address + PROTOCOL_CHAR[protocol] + String.fromCharCode(port >> 8, port & 0xff);
}

/** Packed address of a frontend key; '' for a NodePort. */
export function frontendAddress(key: Packed): Packed {
  return key.slice(0, -3);
}

/** `ns/name` or `ns/name:port`, as kube-proxy names service ports. */
export function servicePortName(port: Pick<ServicePort, 'service' | 'portName'>): string {
  return port.portName === '' ? port.service : `${port.service}:${port.portName}`;
}

/** Key of a service port in a plan: unique among ports, protocols and families. */
export function planKey(port: Pick<ServicePort, 'service' | 'portName' | 'protocol' | 'family'>): string {
  // Keys live as long as their Service; left as the tree of their parts each would cost 400 bytes.
  return flat(`${servicePortName(port)}/${port.protocol}/${port.family}`);
}
