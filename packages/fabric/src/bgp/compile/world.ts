import type { BGPConfiguration, BGPFilter, BGPPeer, IPPool } from '@weft/kube';
import type { FabricNode, NodeBlock } from '../../nodes.ts';

/** A node as BGP sees it. */
export interface BgpNode extends FabricNode {
  readonly labels: Readonly<Record<string, string>>;
  /** As annotated; the configuration's otherwise. */
  readonly asNumber?: string;
  /** Set on route reflectors. */
  readonly clusterId?: string;
}

/** A Service as far as its addresses may be announced. */
export interface BgpService {
  readonly namespace: string;
  readonly name: string;
  readonly clusterIPs: readonly string[];
  readonly externalIPs: readonly string[];
  readonly loadBalancerIPs: readonly string[];
  /** Only nodes with endpoints of it may attract its traffic. */
  readonly local: boolean;
  /** This node has an endpoint that serves. */
  readonly here: boolean;
}

/** Everything that decides what a node's speaker does. */
export interface BgpWorld {
  readonly self: BgpNode;
  readonly nodes: readonly BgpNode[];
  /** An older node claims what this one does. */
  readonly contested: (node: string) => boolean;
  readonly blocksOf: (node: string) => readonly NodeBlock[];
  readonly pools: readonly IPPool[];
  readonly configurations: readonly BGPConfiguration[];
  readonly peers: readonly BGPPeer[];
  readonly filters: readonly BGPFilter[];
  readonly services: readonly BgpService[];
  /** Value of a key of a Secret; undefined while it is not known. */
  readonly secret: (name: string, key: string) => string | undefined;
}

/** Something in an object that cannot be used, and what it keeps from working. */
export interface BgpProblem {
  readonly kind: 'BGPConfiguration' | 'BGPPeer' | 'BGPFilter' | 'Node';
  readonly name: string;
  /** Names the field. */
  readonly message: string;
}
