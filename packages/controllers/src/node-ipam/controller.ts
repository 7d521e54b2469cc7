import { isStatus, type Node, resources } from '@weft/kube';
import { sameValue } from '@weft/plan';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { LOOK_AGAIN_MS, OwnWrites } from '../own-writes.ts';
import { type Again, WorkQueue } from '../queue.ts';
import { ClusterRanges } from './ranges.ts';

const NAME = 'node-ipam-controller';

export interface NodeIpamOptions {
  /**
   * Where blocks come from. The family of the first is the primary one; of several CIDRs of one family, the first with a
   * free block serves.
   */
  readonly clusterCidrs: readonly string[];
  /** Blocks that these overlap are given to no node (kube-controller-manager's `--service-cluster-ip-range`). */
  readonly serviceCidrs?: readonly string[];
  /** Prefix length of a node's IPv4 block. */
  readonly nodeCidrMaskSize: number;
  /** Prefix length of a node's IPv6 block. Default 64. */
  readonly nodeCidrMaskSizeIpv6?: number;
}

/**
 * Gives every Node its blocks of the cluster CIDRs (`spec.podCIDRs`). What Nodes hold is the only record: it is read
 * before the first block is given, so a restart never gives one twice.
 */
export function nodeIpamController(context: ControllerContext, options: NodeIpamOptions): Controller {
  const { client, informers, log } = context;
  const recorder = eventRecorder(context, 'cidrAllocator');
  const nodes = informers.of(resources.nodes);
  const pools = new ClusterRanges(options);
  /** What was given, by node name; also covers what no cache shows yet. */
  const held = new Map<string, { uid: string | undefined; cidrs: readonly string[] }>();
  const exhausted = new Set<string>();
  const writes = new OwnWrites();
  // One at a time: two nodes must not be looking at the same free block.
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 1 }, reconcile);

  const take = (name: string, uid: string | undefined, cidrs: readonly string[]): void => {
    for (const cidr of cidrs) {
      if (!pools.occupy(cidr)) {
        log.warn('a node has a pod CIDR outside of the cluster CIDRs', { node: name, cidr });
      }
    }
    held.set(name, { uid, cidrs });
  };
  const give = (name: string): void => {
    const old = held.get(name);
    if (old === undefined) return;
    held.delete(name);
    for (const cidr of old.cidrs) {
      pools.release(cidr);
    }
    // Another node may have been given an overlapping block by hand.
    for (const other of held.values()) for (const cidr of other.cidrs) pools.occupy(cidr);
    for (const waiting of exhausted) queue.add(waiting);
    exhausted.clear();
  };

  async function reconcile(name: string): Promise<Again> {
    if (!writes.seen(name)) return LOOK_AGAIN_MS;
    const node = nodes.get(name);
    if (node === undefined) {
      give(name);
      return undefined;
    }
    const known = held.get(name);
    if (known !== undefined && known.uid !== node.metadata.uid) give(name);
    const current = podCidrs(node);
    if (current.length > 0) {
      if (!sameValue(held.get(name)?.cidrs, current)) {
        give(name);
        take(name, node.metadata.uid, current);
      }
      return undefined;
    }
    // A failed write keeps its blocks for the next try: the server may have stored it all the same.
    const cidrs = held.get(name)?.cidrs ?? pools.allocate();
    if (cidrs === undefined) {
      exhausted.add(name);
      const about = { apiVersion: 'v1', kind: 'Node', name, ...(node.metadata.uid ? { uid: node.metadata.uid } : {}) };
      recorder.event(about, 'Normal', 'CIDRNotAvailable', `Node ${name} status is now: CIDRNotAvailable`);
      log.warn('no pod CIDR is left for a node', { node: name, clusterCidrs: options.clusterCidrs });
      return undefined;
    }
    held.set(name, { uid: node.metadata.uid, cidrs });
    try {
      const patch = { metadata: { uid: node.metadata.uid }, spec: { podCIDR: cidrs[0], podCIDRs: cidrs } };
      writes.wrote(name, nodes, await client.patch(resources.nodes, undefined, name, patch));
    } catch (error) {
      if (isStatus(error, 'NotFound')) {
        give(name);
        return undefined;
      }
      // Somebody else was first: their choice is read from the next event.
      if (isStatus(error, 'Invalid') || isStatus(error, 'Conflict')) give(name);
      throw error;
    }
    return undefined;
  }

  nodes.on({
    add: (node) => queue.add(node.metadata.name),
    update: (before, after) => {
      if (before.metadata.uid !== after.metadata.uid || !sameValue(podCidrs(before), podCidrs(after))) {
        queue.add(after.metadata.name);
      }
    },
    delete: (node) => queue.add(node.metadata.name),
  });

  return {
    name: NAME,
    needs: [nodes],
    begin: () => {
      for (const node of nodes.list()) {
        const cidrs = podCidrs(node);
        if (cidrs.length > 0) take(node.metadata.name, node.metadata.uid, cidrs);
      }
      queue.release();
    },
    idle: () => queue.idle(),
  };
}

function podCidrs(node: Node): readonly string[] {
  return node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
}
