import { type Node, type NodeCondition, type Pod, type Taint, timestamp, wellKnown } from '@weft/kube';
import { tolerates } from '../common/node-match.ts';

const { taints } = wellKnown;

/** Conditions that a kubelet reports, and that nobody knows when it is silent. */
const KUBELET_CONDITIONS = ['Ready', 'MemoryPressure', 'DiskPressure', 'PIDPressure'];

/** Taints that follow from a Node's conditions and `spec.unschedulable`; all others belong to somebody else. */
const MANAGED = new Set<string>([
  taints.notReady,
  taints.unreachable,
  taints.unschedulable,
  taints.networkUnavailable,
  taints.memoryPressure,
  taints.diskPressure,
  taints.pidPressure,
]);

const TAINT_OF_CONDITION: Readonly<Record<string, string>> = {
  NetworkUnavailable: taints.networkUnavailable,
  MemoryPressure: taints.memoryPressure,
  DiskPressure: taints.diskPressure,
  PIDPressure: taints.pidPressure,
};

export function nodeReady(node: Node): NodeCondition['status'] | undefined {
  return node.status?.conditions?.find((c) => c.type === 'Ready')?.status;
}

/** The conditions of a node whose kubelet has been silent for too long. */
export function silentConditions(node: Node, now: number): NodeCondition[] {
  const time = timestamp(now);
  const old = node.status?.conditions ?? [];
  const unknown = KUBELET_CONDITIONS.map((type): NodeCondition => {
    const before = old.find((c) => c.type === type);
    if (before === undefined) {
      return {
        type,
        status: 'Unknown',
        reason: 'NodeStatusNeverUpdated',
        message: 'Kubelet never posted node status.',
        lastHeartbeatTime: node.metadata.creationTimestamp ?? time,
        lastTransitionTime: time,
      };
    }
    if (before.status === 'Unknown') return before;
    return {
      ...before,
      status: 'Unknown',
      reason: 'NodeStatusUnknown',
      message: 'Kubelet stopped posting node status.',
      lastTransitionTime: time,
    };
  });
  return [...old.filter((c) => !KUBELET_CONDITIONS.includes(c.type)), ...unknown];
}

/** The taints a node must have: those of others as they are, ours as its conditions say. */
export function wantedTaints(node: Node, now: number): Taint[] {
  const old = node.spec?.taints ?? [];
  const wanted: Taint[] = [];
  const add = (key: string, effect: Taint['effect']): void => {
    const there = old.find((t) => t.key === key && t.effect === effect);
    wanted.push(there ?? { key, effect, timeAdded: timestamp(now) });
  };
  const ready = nodeReady(node);
  const trouble = ready === 'False' ? taints.notReady : ready === 'Unknown' ? taints.unreachable : undefined;
  if (trouble !== undefined) {
    add(trouble, 'NoSchedule');
    add(trouble, 'NoExecute');
  }
  for (const { type, status } of node.status?.conditions ?? []) {
    const key = TAINT_OF_CONDITION[type];
    if (key !== undefined && status === 'True') add(key, 'NoSchedule');
  }
  if (node.spec?.unschedulable === true) add(taints.unschedulable, 'NoSchedule');
  // Somebody may taint a node with our keys by hand, with an effect that we never use.
  const foreign = old.filter((t) => !MANAGED.has(t.key) || t.effect === 'PreferNoSchedule');
  return [...foreign, ...wanted];
}

/** True when two lists hold the same taints, in whatever order and whenever they were added. */
export function sameTaints(a: readonly Taint[], b: readonly Taint[]): boolean {
  const ids = (list: readonly Taint[]): string =>
    list
      .map((t) => `${t.key}=${t.value ?? ''}:${t.effect}`)
      .sort()
      .join();
  return ids(a) === ids(b);
}

/**
 * When the taints of its node drive a pod away, in milliseconds since the epoch; undefined when they do not. A taint
 * that is not tolerated drives it away at once, one that is tolerated for a time after that time.
 */
export function evictionTime(pod: Pod, nodeTaints: readonly Taint[] | undefined): number | undefined {
  let soonest: number | undefined;
  for (const taint of nodeTaints ?? []) {
    if (taint.effect !== 'NoExecute') continue;
    const covering = (pod.spec.tolerations ?? []).filter((t) => tolerates(t, taint));
    const added = taint.timeAdded === undefined ? 0 : Date.parse(taint.timeAdded);
    let at: number | undefined;
    if (covering.length === 0) at = 0;
    else {
      const limits = covering.flatMap((t) => (t.tolerationSeconds === undefined ? [] : [t.tolerationSeconds]));
      if (limits.length > 0) at = added + Math.max(0, Math.min(...limits)) * 1000;
    }
    if (at !== undefined && (soonest === undefined || at < soonest)) soonest = at;
  }
  return soonest;
}
