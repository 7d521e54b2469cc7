import type { Node } from '@weft/kube';

/** What an agent keeps of Node objects: heartbeats and image lists change often and concern nobody here. */
export function slimNode(node: Node): Node {
  const { name, uid, labels, annotations, creationTimestamp, resourceVersion, deletionTimestamp } = node.metadata;
  return {
    metadata: {
      name,
      ...(uid === undefined ? {} : { uid }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(creationTimestamp === undefined ? {} : { creationTimestamp }),
      ...(resourceVersion === undefined ? {} : { resourceVersion }),
      ...(deletionTimestamp === undefined ? {} : { deletionTimestamp }),
    },
    spec: {
      ...(node.spec?.podCIDR === undefined ? {} : { podCIDR: node.spec.podCIDR }),
      ...(node.spec?.podCIDRs === undefined ? {} : { podCIDRs: node.spec.podCIDRs }),
      ...(node.spec?.taints === undefined ? {} : { taints: node.spec.taints }),
    },
    status: node.status?.addresses === undefined ? {} : { addresses: node.status.addresses },
  };
}

/** The node's own pod CIDRs, one per family; empty until it has been given any. */
export function podCidrsOf(node: Node | undefined): readonly string[] {
  return node?.spec?.podCIDRs ?? (node?.spec?.podCIDR === undefined ? [] : [node.spec.podCIDR]);
}
