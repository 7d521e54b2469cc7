import type { KubeObject } from '../object.ts';
import { resourceType } from '../resources.ts';

/** A named community: `64512:100`, or `64512:100:1` for a large one. */
export interface BGPCommunity {
  name?: string;
  value?: string;
}

/** A range of Services' addresses that nodes announce. */
export interface BGPServiceBlock {
  cidr: string;
}

export interface SecretKeyReference {
  secretKeyRef?: { name: string; key: string; optional?: boolean };
}

/** How nodes speak BGP. The object `default` is for all; `node.NAME` changes some fields for one node. */
export interface BGPConfiguration extends KubeObject {
  spec?: {
    /** Every node is a peer of every other. Default true. */
    nodeToNodeMeshEnabled?: boolean;
    /** AS of nodes that say nothing of their own. Default 64512. */
    asNumber?: number | string;
    /** Default 179. */
    listenPort?: number;
    /** `None` (all addresses, the default) or `NodeIP`. */
    bindMode?: string;
    serviceClusterIPs?: BGPServiceBlock[];
    serviceExternalIPs?: BGPServiceBlock[];
    serviceLoadBalancerIPs?: BGPServiceBlock[];
    /** `Disabled`: addresses of load balancers are announced one by one. Default `Enabled`. */
    serviceLoadBalancerAggregation?: string;
    communities?: BGPCommunity[];
    prefixAdvertisements?: { cidr?: string; communities?: string[] }[];
    nodeMeshPassword?: SecretKeyReference;
    /** A duration (`120s`). */
    nodeMeshMaxRestartTime?: string;
  };
}

/** A peer of some nodes: a router by its address, or other nodes by a selector. */
export interface BGPPeer extends KubeObject {
  spec?: {
    /** The nodes that have the peer: one by name, some by selector, or all. */
    node?: string;
    nodeSelector?: string;
    /** `IP`, `IP:port` or `[IPv6]:port`. */
    peerIP?: string;
    asNumber?: number | string;
    /** Nodes that are the peers, instead of `peerIP` and `asNumber`. */
    peerSelector?: string;
    keepOriginalNextHop?: boolean;
    /** `Auto`, `Self` or `Keep`. */
    nextHopMode?: string;
    password?: SecretKeyReference;
    /** `UseNodeIP` (default) or `None`. */
    sourceAddress?: string;
    maxRestartTime?: string;
    numAllowedLocalASNumbers?: number;
    /** Hops that the peer may be away. */
    ttlSecurity?: number;
    /** Names of BGPFilters, in order. */
    filters?: string[];
    localASNumber?: number | string;
    /** `Auto` (default) or `Manual`: peers found by a selector have this node as their peer, too. */
    reversePeering?: string;
  };
}

/** A rule of a BGPFilter. All that it states must hold. */
export interface BGPFilterRule {
  cidr?: string;
  /** `Equal`, `NotEqual`, `In`, `NotIn`; needed with `cidr`. */
  matchOperator?: string;
  prefixLength?: { min?: number; max?: number };
  /** `RemotePeers`: only routes that came from peers. */
  source?: string;
  /** Interface of the route; `*` for any. */
  interface?: string;
  /** `eBGP` or `iBGP`. */
  peerType?: string;
  communities?: { values?: string[] };
  asPathPrefix?: number[];
  priority?: number;
  operations?: {
    addCommunity?: { value?: string };
    prependASPath?: { prefix?: number[] };
    setPriority?: { value?: number };
  }[];
  /** `Accept` or `Reject`. */
  action: string;
}

/** Rules for routes that come from peers and go to them. */
export interface BGPFilter extends KubeObject {
  spec?: {
    importV4?: BGPFilterRule[];
    importV6?: BGPFilterRule[];
    exportV4?: BGPFilterRule[];
    exportV6?: BGPFilterRule[];
  };
}

const GROUP = 'crd.projectcalico.org';
const NEW_GROUP = 'projectcalico.org';

function define<T extends KubeObject>(group: string, version: string, kind: string, plural: string) {
  return resourceType<T>({ group, version, kind, plural, namespaced: false });
}

/** The custom resources of routing. */
export const bgpResources = {
  bgpconfigurations: define<BGPConfiguration>(GROUP, 'v1', 'BGPConfiguration', 'bgpconfigurations'),
  bgppeers: define<BGPPeer>(GROUP, 'v1', 'BGPPeer', 'bgppeers'),
  bgpfilters: define<BGPFilter>(GROUP, 'v1', 'BGPFilter', 'bgpfilters'),
  bgpconfigurationsV3: define<BGPConfiguration>(NEW_GROUP, 'v3', 'BGPConfiguration', 'bgpconfigurations'),
  bgppeersV3: define<BGPPeer>(NEW_GROUP, 'v3', 'BGPPeer', 'bgppeers'),
  bgpfiltersV3: define<BGPFilter>(NEW_GROUP, 'v3', 'BGPFilter', 'bgpfilters'),
} as const;

/** Annotations of nodes that say how they speak BGP. */
export const BGP_ANNOTATIONS = {
  asNumber: 'projectcalico.org/ASNumber',
  clusterId: 'projectcalico.org/RouteReflectorClusterID',
  /** With a prefix length, as Calico writes it. */
  ipv4: 'projectcalico.org/IPv4Address',
  ipv6: 'projectcalico.org/IPv6Address',
} as const;
