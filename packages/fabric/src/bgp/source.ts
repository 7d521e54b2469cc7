import { formatIp, parseInterfaceAddress, parseIp } from '@weft/net';
import {
  BGP_ANNOTATIONS,
  type BGPConfiguration,
  type BGPFilter,
  type BGPPeer,
  type IPPool,
  type Node,
} from '@weft/kube';
import type { FabricNode } from '../nodes.ts';
import type { BgpNode, BgpService } from './compile/index.ts';

/** Where the objects come from that say how to speak BGP. Nodes and blocks come by the fabric's own ways. */
export interface BgpSource {
  /** Resolves when all that exist are known. */
  readonly synced: Promise<void>;
  configurations(): readonly BGPConfiguration[];
  peers(): readonly BGPPeer[];
  filters(): readonly BGPFilter[];
  pools(): readonly IPPool[];
  services(): readonly BgpService[];
  /** Value of a key of a Secret; undefined while it is not known. */
  secret(name: string, key: string): string | undefined;
  /** Calls back after every change. Returns the way to stop. */
  on(changed: () => void): () => void;
}

/** A cluster without any of them: a mesh of all nodes. */
export const NO_OBJECTS: BgpSource = {
  synced: Promise.resolve(),
  configurations: () => [],
  peers: () => [],
  filters: () => [],
  pools: () => [],
  services: () => [],
  secret: () => undefined,
  on: () => () => {},
};

function annotatedAddress(text: string | undefined): string | undefined {
  const ip = parseInterfaceAddress(text ?? '')?.ip ?? parseIp(text ?? '');
  return ip === undefined ? undefined : formatIp(ip);
}

/** Reads what BGP needs of a Node object; addresses that Calico has annotated stand above the node's own. */
export function bgpNode(node: Node, known: FabricNode): BgpNode {
  const { labels = {}, annotations = {} } = node.metadata;
  const ip4 = annotatedAddress(annotations[BGP_ANNOTATIONS.ipv4]) ?? known.ip[4];
  const ip6 = annotatedAddress(annotations[BGP_ANNOTATIONS.ipv6]) ?? known.ip[6];
  const asNumber = annotations[BGP_ANNOTATIONS.asNumber];
  const clusterId = annotations[BGP_ANNOTATIONS.clusterId];
  return {
    ...known,
    ip: { ...(ip4 === undefined ? {} : { 4: ip4 }), ...(ip6 === undefined ? {} : { 6: ip6 }) },
    labels,
    ...(asNumber === undefined || asNumber === '' ? {} : { asNumber }),
    ...(clusterId === undefined || clusterId === '' ? {} : { clusterId }),
  };
}
