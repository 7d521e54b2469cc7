// Written by scripts/generate-types.mjs from the published Kubernetes OpenAPI document; edit that script instead.
import type { ObjectReference } from './core.ts';
import type { ObjectMeta } from './meta.ts';

export interface Endpoint {
  addresses: string[];
  conditions?: EndpointConditions;
  deprecatedTopology?: Record<string, string>;
  hints?: EndpointHints;
  hostname?: string;
  nodeName?: string;
  targetRef?: ObjectReference;
  zone?: string;
}

export interface EndpointConditions {
  ready?: boolean;
  serving?: boolean;
  terminating?: boolean;
}

export interface EndpointHints {
  forNodes?: ForNode[];
  forZones?: ForZone[];
}

/** A port of an EndpointSlice (discovery.k8s.io/v1); that of Endpoints is EndpointsPort. */
export interface EndpointPort {
  appProtocol?: string;
  name?: string;
  port?: number;
  protocol?: 'TCP' | 'UDP' | 'SCTP';
}

export interface EndpointSlice {
  addressType: 'IPv4' | 'IPv6' | 'FQDN';
  apiVersion?: string;
  /** Null when Go marshals an empty slice. */
  endpoints: Endpoint[] | null;
  kind?: string;
  metadata: ObjectMeta;
  /** Null when Go marshals an empty slice; absent or empty means no ports (not all ports). */
  ports?: EndpointPort[] | null;
}

export interface ForNode {
  name: string;
}

export interface ForZone {
  name: string;
}
