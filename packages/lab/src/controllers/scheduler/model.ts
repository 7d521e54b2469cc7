import { controllerOf, type Node, type Pod, type PodAffinityTerm } from '@weft/kube';

/** A pod as far as it matters to the pods that are scheduled after it. */
export interface PlacedPod {
  readonly key: string;
  readonly node: string;
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly owner: string | undefined;
  /** `protocol/address/port`, see hostPorts. */
  readonly ports: readonly string[];
  readonly pod: Pod;
}

/** A node and what runs on it. */
export interface NodeState {
  readonly node: Node;
  readonly pods: Map<string, PlacedPod>;
  readonly owners: Map<string, number>;
}

/** Ports of the node that a pod takes: `hostPort`s, and all ports of a pod in the node's own network. */
export function hostPorts(pod: Pod): string[] {
  const out: string[] = [];
  for (const container of [...pod.spec.containers, ...(pod.spec.initContainers ?? [])]) {
    for (const port of container.ports ?? []) {
      const number = port.hostPort || (pod.spec.hostNetwork === true ? port.containerPort : 0);
      if (number > 0) out.push(`${port.protocol ?? 'TCP'}/${port.hostIP || '0.0.0.0'}/${number}`);
    }
  }
  return out;
}

/** True when two lists of hostPorts cannot be served by one node: the unspecified address takes the port of all. */
export function portsConflict(a: readonly string[], b: readonly string[]): boolean {
  return a.some((x) => {
    const [protocol, address, port] = x.split('/');
    return b.some((y) => {
      const [otherProtocol, otherAddress, otherPort] = y.split('/');
      return (
        protocol === otherProtocol &&
        port === otherPort &&
        (address === otherAddress || address === '0.0.0.0' || otherAddress === '0.0.0.0')
      );
    });
  });
}

export function placedPod(pod: Pod, node: string): PlacedPod {
  const { name, namespace = '', labels = {} } = pod.metadata;
  return {
    key: `${namespace}/${name}`,
    node,
    namespace,
    labels,
    owner: controllerOf(pod)?.uid,
    ports: hostPorts(pod),
    pod,
  };
}

/** Terms of a pod that keep others away from it. */
export function requiredAntiAffinity(pod: Pod): readonly PodAffinityTerm[] {
  return pod.spec.affinity?.podAntiAffinity?.requiredDuringSchedulingIgnoredDuringExecution ?? [];
}

/** Nodes and the pods on them, kept up to date pod by pod so that placing one costs no look at all others. */
export class ClusterState {
  readonly nodes = new Map<string, NodeState>();
  /** Pods with required anti-affinity: few, and every pod has to be checked against them. */
  readonly guarded = new Set<PlacedPod>();
  readonly #placed = new Map<string, PlacedPod>();

  setNode(node: Node): void {
    const { name } = node.metadata;
    const old = this.nodes.get(name);
    this.nodes.set(name, { node, pods: old?.pods ?? new Map(), owners: old?.owners ?? new Map() });
    if (old !== undefined) return;
    for (const placed of this.#placed.values()) if (placed.node === name) this.#count(placed, 1);
  }

  removeNode(name: string): void {
    this.nodes.delete(name);
  }

  /** Puts a pod on a node, in place of where it was. */
  place(placed: PlacedPod): void {
    this.remove(placed.key);
    this.#placed.set(placed.key, placed);
    if (requiredAntiAffinity(placed.pod).length > 0) this.guarded.add(placed);
    this.#count(placed, 1);
  }

  /** Takes a pod off its node. */
  remove(key: string): void {
    const old = this.#placed.get(key);
    if (old === undefined) return;
    this.#placed.delete(key);
    this.guarded.delete(old);
    this.#count(old, -1);
  }

  has(key: string): boolean {
    return this.#placed.has(key);
  }

  #count(placed: PlacedPod, by: 1 | -1): void {
    const state = this.nodes.get(placed.node);
    if (state === undefined) return;
    if (by === 1) state.pods.set(placed.key, placed);
    else state.pods.delete(placed.key);
    if (placed.owner === undefined) return;
    const count = (state.owners.get(placed.owner) ?? 0) + by;
    if (count > 0) state.owners.set(placed.owner, count);
    else state.owners.delete(placed.owner);
  }
}
