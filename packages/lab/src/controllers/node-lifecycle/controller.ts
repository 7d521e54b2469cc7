import {
  type Again,
  type Controller,
  type ControllerContext,
  eventRecorder,
  isPodReady,
  isPodTerminal,
  LOOK_AGAIN_MS,
  OwnWrites,
  podInformer,
  WorkQueue,
} from '@weft/controllers';
import { isStatus, type Lease, type Node, objectKey, type Pod, resources, timestamp, wellKnown } from '@weft/kube';
import { ignoreGone } from '../common/gone.ts';
import { evictionTime, nodeReady, sameTaints, silentConditions, wantedTaints } from './compile.ts';

const NAME = 'node-controller';
/** How long a pod whose node is not there is left alone: the Node may only be late. */
const QUARANTINE_MS = 2_000;

export interface NodeLifecycleOptions {
  /** How long a kubelet may be silent, in milliseconds. Default 40 s (`--node-monitor-grace-period`). */
  readonly nodeGraceMs?: number;
}

interface Seen {
  /** Lease renewal and heartbeat as they were last. */
  sign: string;
  /** When they changed last, by our own clock: the node's clock may be wrong. */
  at: number;
}

/**
 * Watches over nodes: a silent one becomes Unknown, taints follow its conditions, the pods of an unreachable one are not
 * ready from then on, and are evicted when they no longer tolerate it. Pods of a node that was deleted are removed.
 */
export function nodeLifecycleController(context: ControllerContext, options: NodeLifecycleOptions = {}): Controller {
  const { client, informers } = context;
  const graceMs = options.nodeGraceMs ?? 40_000;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const nodes = informers.of(resources.nodes);
  const leases = informers.of(resources.leases);
  const seen = new Map<string, Seen>();
  /** Nodes that pods name and that are not there. */
  const missingSince = new Map<string, number>();
  const writes = new OwnWrites();
  const nodeQueue = new WorkQueue({ ...context, name: NAME, concurrency: 4 }, reconcileNode);
  const podQueue = new WorkQueue({ ...context, name: 'taint-eviction-controller', concurrency: 8 }, reconcilePod);

  /** Remembers signs of life; true when there is a new one. */
  function observe(name: string): Seen {
    const lease = leases.get(`${wellKnown.NODE_LEASE_NAMESPACE}/${name}`);
    const ready = nodes.get(name)?.status?.conditions?.find((c) => c.type === 'Ready');
    const sign = `${lease?.spec?.renewTime ?? ''} ${ready?.lastHeartbeatTime ?? ''}`;
    let entry = seen.get(name);
    if (entry === undefined || entry.sign !== sign) {
      entry = { sign, at: Date.now() };
      seen.set(name, entry);
    }
    return entry;
  }

  async function reconcileNode(name: string): Promise<Again> {
    const node = nodes.get(name);
    if (node === undefined) {
      seen.delete(name);
      writes.forget(name);
      for (const pod of pods.byIndex('node', name)) podQueue.add(objectKey(pod));
      return undefined;
    }
    const silentFor = Date.now() - observe(name).at;
    if (!writes.seen(name)) return LOOK_AGAIN_MS;
    if (silentFor >= graceMs && nodeReady(node) !== 'Unknown') {
      const conditions = silentConditions(node, Date.now());
      const { uid, resourceVersion } = node.metadata;
      const patch = { metadata: { uid, resourceVersion }, status: { conditions } };
      writes.wrote(name, nodes, await client.patch(resources.nodes, undefined, name, patch, { subresource: 'status' }));
      return 0;
    }
    const taints = wantedTaints(node, Date.now());
    if (!sameTaints(taints, node.spec?.taints ?? [])) {
      const { uid, resourceVersion } = node.metadata;
      const patch = { metadata: { uid, resourceVersion }, spec: { taints: taints.length === 0 ? null : taints } };
      writes.wrote(name, nodes, await client.patch(resources.nodes, undefined, name, patch));
    }
    if (isTroubled(node)) for (const pod of pods.byIndex('node', name)) podQueue.add(objectKey(pod));
    return nodeReady(node) === 'Unknown' ? undefined : Math.max(1, graceMs - silentFor);
  }

  async function reconcilePod(key: string): Promise<Again> {
    const pod = pods.get(key);
    if (pod?.spec.nodeName === undefined || pod.spec.nodeName === '') return undefined;
    const node = nodes.get(pod.spec.nodeName);
    if (node === undefined) return collect(key, pod);
    if (nodeReady(node) === 'Unknown' && isPodReady(pod)) await markNotReady(pod);
    if (isPodTerminal(pod) || pod.metadata.deletionTimestamp !== undefined) return undefined;
    const at = evictionTime(pod, node.spec?.taints);
    if (at === undefined) return undefined;
    const now = Date.now();
    if (at > now) return at - now;
    const { namespace, name, uid } = pod.metadata;
    recorder.event(pod, 'Normal', 'TaintManagerEviction', `Marking for deletion Pod ${namespace}/${name}`);
    await ignoreGone(() => client.delete(resources.pods, namespace, name, uid === undefined ? {} : { uid }));
    return undefined;
  }

  /** Nobody but its kubelet could end the pod, and that is gone with its node. */
  async function collect(key: string, pod: Pod): Promise<Again> {
    const { namespace = '', name, uid } = pod.metadata;
    const nodeName = pod.spec.nodeName ?? '';
    const since = missingSince.get(nodeName) ?? Date.now();
    missingSince.set(nodeName, since);
    const left = since + QUARANTINE_MS - Date.now();
    if (left > 0) return left;
    try {
      await client.get(resources.nodes, undefined, nodeName);
      return LOOK_AGAIN_MS;
    } catch (error) {
      if (!isStatus(error, 'NotFound')) throw error;
    }
    context.log.info('removing a pod whose node is gone', { pod: key, node: nodeName });
    await ignoreGone(() =>
      client.delete(resources.pods, namespace, name, { gracePeriodSeconds: 0, ...(uid === undefined ? {} : { uid }) }),
    );
    return undefined;
  }

  async function markNotReady(pod: Pod): Promise<void> {
    // The news of a node that is back may still be on its way while its kubelet has written the pod already: to contradict
    // that would be wrong until the kubelet looks again.
    const node = await client.get(resources.nodes, undefined, pod.spec.nodeName ?? '');
    if (nodeReady(node) !== 'Unknown') return;
    const lastTransitionTime = timestamp(Date.now());
    const conditions = (pod.status?.conditions ?? []).map((c) =>
      c.type === 'Ready' ? { ...c, status: 'False' as const, lastTransitionTime } : c,
    );
    const { namespace, name, uid, resourceVersion } = pod.metadata;
    const patch = { metadata: { uid, resourceVersion }, status: { conditions } };
    await ignoreGone(() => client.patch(resources.pods, namespace, name, patch, { subresource: 'status' }));
    recorder.event(pod, 'Warning', 'NodeNotReady', 'Node is not ready');
  }

  const touchPod = (pod: Pod): void => {
    if (!pod.spec.nodeName) return;
    const node = nodes.get(pod.spec.nodeName);
    if (node === undefined || isTroubled(node)) podQueue.add(objectKey(pod));
  };
  pods.on({ add: touchPod, update: (_, after) => touchPod(after) });
  nodes.on({
    add: (node) => {
      missingSince.delete(node.metadata.name);
      nodeQueue.add(node.metadata.name);
    },
    update: (before, after) => {
      const { name } = after.metadata;
      if (nodeReady(before) === 'True' && nodeReady(after) !== 'True') {
        recorder.event(after, 'Normal', 'NodeNotReady', `Node ${name} status is now: NodeNotReady`);
      }
      nodeQueue.add(name);
    },
    delete: (node) => nodeQueue.add(node.metadata.name),
  });
  const touchLease = (lease: Lease): void => {
    if (lease.metadata.namespace !== wellKnown.NODE_LEASE_NAMESPACE) return;
    // The time limit of the node is not moved now but when it is over: a lease costs no more than this.
    if (nodes.get(lease.metadata.name) !== undefined) observe(lease.metadata.name);
  };
  leases.on({ add: touchLease, update: (_, after) => touchLease(after) });

  return {
    name: NAME,
    needs: [nodes, pods, leases],
    begin: () => {
      nodeQueue.release();
      podQueue.release();
    },
    idle: async () => void (await Promise.all([nodeQueue.idle(), podQueue.idle()])),
  };
}

/** True when a node's pods have to be looked at one by one. */
function isTroubled(node: Node): boolean {
  return nodeReady(node) === 'Unknown' || (node.spec?.taints ?? []).some((t) => t.effect === 'NoExecute');
}
