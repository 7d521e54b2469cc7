import {
  type Again,
  type Controller,
  type ControllerContext,
  eventRecorder,
  isPodTerminal,
  podCondition,
  podInformer,
  WorkQueue,
} from '@weft/controllers';
import { isStatus, type Node, objectKey, type Pod, resources, timestamp } from '@weft/kube';
import { sameValue } from '@weft/plan';
import { schedule } from './compile.ts';
import { ClusterState, placedPod } from './model.ts';

const NAME = 'default-scheduler';
const POD = { apiVersion: 'v1', kind: 'Pod' };

/** Binds pods to nodes. */
export function scheduler(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const nodes = informers.of(resources.nodes);
  const state = new ClusterState();
  /** Pods that no node fits, until something changes. */
  const waiting = new Set<string>();
  // Bindings travel side by side; which node each goes to is decided one after the other, without a pause between
  // reading the state and adding to it.
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 32 }, reconcile);

  async function reconcile(key: string): Promise<Again> {
    const pod = pods.get(key);
    if (pod === undefined || !needsNode(pod) || state.has(key)) return undefined;
    const placement = schedule(pod, state);
    if (placement.node === undefined) {
      waiting.add(key);
      await refuse(pod, placement.message);
      return undefined;
    }
    state.place(placedPod(pod, placement.node));
    const { namespace = '', name, uid } = pod.metadata;
    try {
      await client.subresource(resources.pods, namespace, name, 'binding', 'POST', {
        apiVersion: 'v1',
        kind: 'Binding',
        metadata: { name, namespace, uid },
        target: { kind: 'Node', name: placement.node },
      });
    } catch (error) {
      // Unless the cache has it on a node by now.
      if (!pods.get(key)?.spec.nodeName) state.remove(key);
      if (isStatus(error, 'NotFound') || isStatus(error, 'Conflict')) {
        const now = pods.get(key);
        return now !== undefined && needsNode(now) && now.metadata.uid === uid ? 100 : undefined;
      }
      throw error;
    }
    const message = `Successfully assigned ${namespace}/${name} to ${placement.node}`;
    recorder.event({ ...pod, ...POD }, 'Normal', 'Scheduled', message);
    return undefined;
  }

  async function refuse(pod: Pod, message: string): Promise<void> {
    recorder.event({ ...pod, ...POD }, 'Warning', 'FailedScheduling', message);
    const old = podCondition(pod, 'PodScheduled');
    if (old?.status === 'False' && old.reason === 'Unschedulable' && old.message === message) return;
    const lastTransitionTime =
      old?.status === 'False' && old.lastTransitionTime !== undefined ? old.lastTransitionTime : timestamp(Date.now());
    const conditions = [
      ...(pod.status?.conditions ?? []).filter((c) => c.type !== 'PodScheduled'),
      { type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message, lastTransitionTime },
    ];
    const { namespace, name, uid } = pod.metadata;
    const patch = { metadata: { uid }, status: { conditions } };
    try {
      await client.patch(resources.pods, namespace, name, patch, { subresource: 'status', type: 'strategic' });
    } catch (error) {
      if (!isStatus(error, 'NotFound') && !isStatus(error, 'Conflict')) throw error;
    }
  }

  const retryWaiting = (): void => {
    for (const key of waiting) queue.add(key);
    waiting.clear();
  };
  const follow = (pod: Pod): void => {
    const key = objectKey(pod);
    if (pod.spec.nodeName && !isPodTerminal(pod)) state.place(placedPod(pod, pod.spec.nodeName));
    else if (isPodTerminal(pod)) state.remove(key);
    else if (needsNode(pod) && !waiting.has(key)) queue.add(key);
  };
  pods.on({
    add: follow,
    update: (before, after) => {
      if (before.metadata.uid !== after.metadata.uid) {
        state.remove(objectKey(before));
        waiting.delete(objectKey(before));
      }
      if (placementMayDiffer(before, after)) {
        if (!sameValue(before.spec, after.spec)) waiting.delete(objectKey(after));
        follow(after);
        if (before.spec.nodeName && isPodTerminal(after)) retryWaiting();
      }
    },
    delete: (pod) => {
      const key = objectKey(pod);
      waiting.delete(key);
      state.remove(key);
      if (pod.spec.nodeName) retryWaiting();
    },
  });
  nodes.on({
    add: (node) => {
      state.setNode(node);
      retryWaiting();
    },
    update: (before, after) => {
      state.setNode(after);
      if (nodeMayFitDifferently(before, after)) retryWaiting();
    },
    delete: (node) => state.removeNode(node.metadata.name),
  });

  return { name: NAME, needs: [pods, nodes], begin: () => queue.release(), idle: () => queue.idle() };
}

/** True for a pod that this scheduler has to find a node for. */
function needsNode({ metadata, spec }: Pod): boolean {
  return (
    !spec.nodeName &&
    metadata.deletionTimestamp === undefined &&
    (spec.schedulerName ?? NAME) === NAME &&
    (spec.schedulingGates ?? []).length === 0
  );
}

function placementMayDiffer(before: Pod, after: Pod): boolean {
  return (
    before.metadata.uid !== after.metadata.uid ||
    before.spec.nodeName !== after.spec.nodeName ||
    isPodTerminal(before) !== isPodTerminal(after) ||
    before.metadata.deletionTimestamp !== after.metadata.deletionTimestamp ||
    !sameValue(before.metadata.labels, after.metadata.labels) ||
    !sameValue(before.spec.schedulingGates, after.spec.schedulingGates) ||
    !sameValue(before.spec.nodeSelector, after.spec.nodeSelector)
  );
}

function nodeMayFitDifferently(before: Node, after: Node): boolean {
  return (
    !sameValue(before.spec?.taints, after.spec?.taints) ||
    before.spec?.unschedulable !== after.spec?.unschedulable ||
    !sameValue(before.metadata.labels, after.metadata.labels)
  );
}
