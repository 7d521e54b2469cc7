import {
  DEFAULT_NETWORK_ANNOTATION,
  NETWORK_STATUS_ANNOTATION,
  NETWORKS_ANNOTATION,
  type NetworkStatus,
  networkOfDefinition,
  parseNetworkSelections,
} from '@weft/cni';
import type { NetworkAttachmentDefinition, Pod } from '@weft/kube';
import { errorMessage } from '@weft/plan';

/** A definition, and who uses it. */
export interface NetworkRow {
  readonly network: string;
  /** Types of its plugins, in order; empty when its configuration is in a file on the nodes, or cannot be read. */
  readonly plugins: readonly string[];
  /** `NAMESPACE/NAME` of the pods that are attached. */
  readonly pods: readonly string[];
  /** Why pods cannot be attached. */
  readonly problem?: string;
}

/** One interface of a pod, or one that it asks for and does not have. */
export interface InterfaceRow {
  readonly interface: string;
  readonly network: string;
  readonly ips: readonly string[];
  readonly mac?: string;
  readonly gateway: readonly string[];
  readonly default: boolean;
  /** What asks for it when the pod does not have it, or why it does not. */
  readonly problem?: string;
}

function keyOf({ metadata }: { readonly metadata: { readonly namespace?: string; readonly name: string } }): string {
  return `${metadata.namespace ?? 'default'}/${metadata.name}`;
}

/** What the agent wrote on a pod; empty when it wrote nothing, or somebody else did. */
function statusesOf(pod: Pod): readonly NetworkStatus[] {
  try {
    const value: unknown = JSON.parse(pod.metadata.annotations?.[NETWORK_STATUS_ANNOTATION] ?? '[]');
    return Array.isArray(value) ? (value as NetworkStatus[]) : [];
  } catch {
    return [];
  }
}

function problemOf(definition: NetworkAttachmentDefinition): { plugins: readonly string[]; problem?: string } {
  const { namespace = 'default', name } = definition.metadata;
  const config = definition.spec?.config ?? '';
  if (config.trim() === '') return { plugins: [] };
  try {
    return { plugins: networkOfDefinition({ namespace, name, config }).plugins.map((plugin) => plugin.type) };
  } catch (error) {
    return { plugins: [], problem: errorMessage(error).replace(/^network-attachment-definition \S+: /, '') };
  }
}

/** All definitions with their pods, in order of their names (pure). */
export function networkRows(
  definitions: readonly NetworkAttachmentDefinition[],
  pods: readonly Pod[],
): readonly NetworkRow[] {
  const users = new Map<string, string[]>();
  for (const pod of pods) {
    for (const { name } of statusesOf(pod)) users.set(name, [...(users.get(name) ?? []), keyOf(pod)]);
  }
  return definitions
    .map((definition) => {
      const network = keyOf(definition);
      return { network, ...problemOf(definition), pods: [...new Set(users.get(network) ?? [])].sort() };
    })
    .sort((a, b) => (a.network < b.network ? -1 : 1));
}

/** What a pod asks for, or why that cannot be read. */
function asked(pod: Pod): readonly { readonly network: string; readonly ifname?: string; readonly problem?: string }[] {
  const annotations = pod.metadata.annotations ?? {};
  const namespace = pod.metadata.namespace ?? 'default';
  return [DEFAULT_NETWORK_ANNOTATION, NETWORKS_ANNOTATION].flatMap((annotation) => {
    const home = annotation === NETWORKS_ANNOTATION ? namespace : 'kube-system';
    try {
      return parseNetworkSelections(annotations[annotation] ?? '', home, annotation).map((selection) => ({
        network: `${selection.namespace}/${selection.name}`,
        ...(selection.ifname === undefined ? {} : { ifname: selection.ifname }),
      }));
    } catch (error) {
      return [{ network: '', problem: errorMessage(error) }];
    }
  });
}

/** The interfaces of a pod, and what it asks for and has not got, with the reason as far as objects tell it (pure). */
export function interfaceRows(pod: Pod, definitions: readonly NetworkAttachmentDefinition[]): readonly InterfaceRow[] {
  const statuses = statusesOf(pod);
  const had: InterfaceRow[] = statuses.map((status) => ({
    interface: status.interface ?? '',
    network: status.name,
    ips: status.ips ?? [],
    ...(status.mac === undefined ? {} : { mac: status.mac }),
    gateway: status.gateway ?? [],
    default: status.default === true,
  }));
  if (had.length === 0 && pod.spec.hostNetwork !== true) {
    const ips = (pod.status?.podIPs ?? []).map(({ ip }) => ip);
    had.push({ interface: 'eth0', network: "the node's first network", ips, gateway: [], default: true });
  }
  const left = statuses.map(({ name }) => name);
  const missing = asked(pod).flatMap((want): InterfaceRow[] => {
    const at = left.indexOf(want.network);
    if (at >= 0) {
      left.splice(at, 1);
      return [];
    }
    const definition = definitions.find((d) => keyOf(d) === want.network);
    const problem =
      want.problem ??
      (definition === undefined ? 'there is no such definition' : (problemOf(definition).problem ?? 'not attached'));
    return [{ interface: want.ifname ?? '', network: want.network, ips: [], gateway: [], default: false, problem }];
  });
  return [...had, ...missing];
}
