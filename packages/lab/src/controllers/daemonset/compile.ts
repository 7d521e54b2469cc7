import { isPodActive, isPodAvailable, isPodReady, isPodTerminal } from '@weft/controllers';
import { type DaemonSet, type DaemonSetStatus, type Node, type Pod, type Toleration, wellKnown } from '@weft/kube';
import { scaledValue } from '../common/int-or-percent.ts';
import { matchesNode, untolerated } from '../common/node-match.ts';

const { taints } = wellKnown;

/** What has to happen to the pods of a DaemonSet. */
export interface DaemonPlan {
  /** Names of nodes that get a pod. */
  readonly create: readonly string[];
  readonly remove: readonly Pod[];
  /** Pods that ended and are replaced. */
  readonly failed: readonly Pod[];
  readonly status: DaemonSetStatus;
}

/** Tolerations that every pod of a DaemonSet has (DaemonSet controller, AddOrUpdateDaemonPodTolerations). */
function daemonTolerations(spec: Pod['spec'] | undefined): Toleration[] {
  const added: Toleration[] = [
    { key: taints.notReady, operator: 'Exists', effect: 'NoExecute' },
    { key: taints.unreachable, operator: 'Exists', effect: 'NoExecute' },
    { key: taints.diskPressure, operator: 'Exists', effect: 'NoSchedule' },
    { key: taints.memoryPressure, operator: 'Exists', effect: 'NoSchedule' },
    { key: taints.pidPressure, operator: 'Exists', effect: 'NoSchedule' },
    { key: taints.unschedulable, operator: 'Exists', effect: 'NoSchedule' },
    ...(spec?.hostNetwork === true
      ? [{ key: taints.networkUnavailable, operator: 'Exists', effect: 'NoSchedule' } as const]
      : []),
  ];
  const own = (spec?.tolerations ?? []).filter(
    (t) => !added.some((a) => a.key === t.key && a.effect === t.effect && a.operator === t.operator),
  );
  return [...own, ...added];
}

/** What a DaemonSet changes in its template for the pod of one node. */
export function daemonPodSpec(spec: Pod['spec'] | undefined, node: string): Partial<Pod['spec']> {
  return {
    tolerations: daemonTolerations(spec),
    affinity: {
      ...spec?.affinity,
      nodeAffinity: {
        ...spec?.affinity?.nodeAffinity,
        requiredDuringSchedulingIgnoredDuringExecution: {
          nodeSelectorTerms: [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node] }] }],
        },
      },
    },
  };
}

/** The node a pod of a DaemonSet runs on or is meant for. */
function daemonNode(pod: Pod): string | undefined {
  if (pod.spec.nodeName) return pod.spec.nodeName;
  const required = pod.spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  for (const term of required?.nodeSelectorTerms ?? []) {
    const field = term.matchFields?.find((f) => f.key === 'metadata.name' && f.operator === 'In');
    if (field?.values?.length === 1) return field.values[0];
  }
  return undefined;
}

interface Verdict {
  readonly shouldRun: boolean;
  readonly mayGoOn: boolean;
}

function verdict(set: DaemonSet, node: Node): Verdict {
  const spec = set.spec.template.spec ?? { containers: [] };
  if ((spec.nodeName && spec.nodeName !== node.metadata.name) || !matchesNode(spec, node)) {
    return { shouldRun: false, mayGoOn: false };
  }
  const tolerations = daemonTolerations(spec);
  // A taint NoSchedule keeps pods from coming; only NoExecute drives them away.
  const mayGoOn = untolerated(node.spec?.taints, tolerations, ['NoExecute']) === undefined;
  return { shouldRun: untolerated(node.spec?.taints, tolerations) === undefined, mayGoOn };
}

/**
 * One pod on every node that should have one; old pods are replaced as the update strategy allows. `hash` is the
 * revision of the current template, `pods` all pods of the set.
 */
export function compileDaemonSet(
  set: DaemonSet,
  nodes: readonly Node[],
  pods: readonly Pod[],
  hash: string,
  now: number,
): DaemonPlan {
  const perNode = new Map<string, Pod[]>();
  const remove: Pod[] = [];
  const failed: Pod[] = [];
  for (const pod of pods) {
    const node = daemonNode(pod);
    if (node === undefined) continue;
    perNode.set(node, [...(perNode.get(node) ?? []), pod]);
  }
  const create: string[] = [];
  for (const node of nodes) {
    const { shouldRun, mayGoOn } = verdict(set, node);
    const here = (perNode.get(node.metadata.name) ?? []).filter((p) => p.metadata.deletionTimestamp === undefined);
    if (!mayGoOn) {
      remove.push(...here);
      continue;
    }
    const ended = here.filter(isPodTerminal);
    const running = here.filter((pod) => !isPodTerminal(pod));
    failed.push(...ended);
    if (shouldRun && here.length === 0) {
      // The old one has to be gone: two pods would fight for the node's ports.
      if ((perNode.get(node.metadata.name) ?? []).every(isPodTerminal)) create.push(node.metadata.name);
    } else if (running.length > 1) remove.push(...surplus(set, running, hash, now));
  }
  // A pod of a node that is gone falls to the pod garbage collector, unless it never got there.
  const known = new Set(nodes.map((n) => n.metadata.name));
  for (const [node, list] of perNode) {
    if (!known.has(node)) remove.push(...list.filter((p) => !p.spec.nodeName && isPodActive(p)));
  }
  const rolled = set.metadata.deletionTimestamp === undefined ? roll(set, nodes, perNode, hash, now) : undefined;
  const gone = new Set([...remove, ...failed]);
  return {
    create: [...create, ...(rolled?.create ?? [])],
    remove: [...remove, ...(rolled?.remove ?? []).filter((pod) => !gone.has(pod))],
    failed,
    status: countDaemons(set, nodes, perNode, hash, now),
  };
}

/** Of several pods on one node the oldest of the current revision stays, while a surge is going on also the old one. */
function surplus(set: DaemonSet, running: readonly Pod[], hash: string, now: number): Pod[] {
  const sorted = [...running].sort((a, b) => age(a) - age(b));
  const current = sorted.filter((p) => isCurrent(p, hash));
  const old = sorted.filter((p) => !isCurrent(p, hash));
  if (surge(set, 1) > 0 && current.length > 0 && old.length > 0) {
    const ready = current.some((p) => isPodAvailable(p, set.spec.minReadySeconds ?? 0, now));
    return [...current.slice(1), ...old.slice(ready ? 0 : 1)];
  }
  return sorted.slice(1);
}

function age(pod: Pod): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
}

function isCurrent(pod: Pod, hash: string): boolean {
  return pod.metadata.labels?.[wellKnown.labels.controllerRevisionHash] === hash;
}

function surge(set: DaemonSet, desired: number): number {
  return scaledValue(set.spec.updateStrategy?.rollingUpdate?.maxSurge, desired, 'up');
}

/** Replaces pods of old revisions, as many at a time as maxUnavailable or maxSurge allow. */
function roll(
  set: DaemonSet,
  nodes: readonly Node[],
  perNode: ReadonlyMap<string, readonly Pod[]>,
  hash: string,
  now: number,
): { create: string[]; remove: Pod[] } {
  if (set.spec.updateStrategy?.type === 'OnDelete') return { create: [], remove: [] };
  const wanted = nodes.filter((node) => verdict(set, node).shouldRun);
  const maxSurge = surge(set, wanted.length);
  const given = set.spec.updateStrategy?.rollingUpdate?.maxUnavailable ?? 1;
  const maxUnavailable = scaledValue(given, wanted.length, 'up') || (maxSurge === 0 ? 1 : 0);
  const minReady = set.spec.minReadySeconds ?? 0;
  const old: Pod[] = [];
  const down: Pod[] = [];
  let unavailable = 0;
  let surging = 0;
  const candidates: string[] = [];
  for (const node of wanted) {
    const here = (perNode.get(node.metadata.name) ?? []).filter(isPodActive);
    const current = here.find((p) => isCurrent(p, hash));
    const previous = here.find((p) => !isCurrent(p, hash));
    const available = here.some((p) => isPodAvailable(p, minReady, now));
    if (maxSurge > 0) {
      if (current !== undefined && previous !== undefined) surging++;
      else if (previous !== undefined) {
        if (isPodAvailable(previous, minReady, now)) candidates.push(node.metadata.name);
        else down.push(previous);
      }
      continue;
    }
    if (!available) unavailable++;
    if (previous === undefined || current !== undefined) continue;
    // Replacing what does not work costs nothing.
    if (available) old.push(previous);
    else down.push(previous);
  }
  if (maxSurge > 0) return { create: candidates.slice(0, Math.max(0, maxSurge - surging)), remove: down };
  return { create: [], remove: [...down, ...old.slice(0, Math.max(0, maxUnavailable - unavailable))] };
}

function countDaemons(
  set: DaemonSet,
  nodes: readonly Node[],
  perNode: ReadonlyMap<string, readonly Pod[]>,
  hash: string,
  now: number,
): DaemonSetStatus {
  let desired = 0;
  let current = 0;
  let misscheduled = 0;
  let ready = 0;
  let available = 0;
  let updated = 0;
  for (const node of nodes) {
    const here = (perNode.get(node.metadata.name) ?? []).filter(isPodActive);
    if (!verdict(set, node).shouldRun) {
      if (here.length > 0) misscheduled++;
      continue;
    }
    desired++;
    const newest = here.find((p) => isCurrent(p, hash)) ?? here[0];
    if (newest === undefined) continue;
    current++;
    if (here.some(isPodReady)) ready++;
    if (here.some((p) => isPodAvailable(p, set.spec.minReadySeconds ?? 0, now))) available++;
    if (isCurrent(newest, hash)) updated++;
  }
  return {
    currentNumberScheduled: current,
    desiredNumberScheduled: desired,
    numberMisscheduled: misscheduled,
    numberReady: ready,
    numberAvailable: available,
    numberUnavailable: desired - available,
    updatedNumberScheduled: updated,
    observedGeneration: set.metadata.generation ?? 0,
    ...(set.status?.collisionCount ? { collisionCount: set.status.collisionCount } : {}),
  };
}
