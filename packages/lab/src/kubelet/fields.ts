import { type Container, parseQuantity, type Pod, type ResourceFieldSelector } from '@weft/kube';
import { WeftError } from '@weft/plan';
import { namespaceOf, uidOf } from './pod.ts';

/** What of a pod is known only on the node. */
export interface PodAddresses {
  readonly podIPs: readonly string[];
  readonly hostIPs: readonly string[];
}

/** A map as Kubernetes writes it into a downward API file: `key="value"` lines, sorted. */
function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}

/** The value of a `fieldRef`. Throws WeftError when the path is not one that pods offer. */
export function fieldValue(pod: Pod, path: string, addresses: PodAddresses): string {
  const subscript = /^metadata\.(labels|annotations)\['([^']+)'\]$/.exec(path);
  if (subscript !== null) return pod.metadata[subscript[1] as 'labels' | 'annotations']?.[subscript[2] as string] ?? '';
  switch (path) {
    case 'metadata.name':
      return pod.metadata.name;
    case 'metadata.namespace':
      return namespaceOf(pod);
    case 'metadata.uid':
      return uidOf(pod);
    case 'metadata.labels':
      return formatMap(pod.metadata.labels);
    case 'metadata.annotations':
      return formatMap(pod.metadata.annotations);
    case 'spec.nodeName':
      return pod.spec.nodeName ?? '';
    case 'spec.serviceAccountName':
      return pod.spec.serviceAccountName ?? '';
    case 'status.hostIP':
      return addresses.hostIPs[0] ?? '';
    case 'status.hostIPs':
      return addresses.hostIPs.join(',');
    case 'status.podIP':
      return addresses.podIPs[0] ?? '';
    case 'status.podIPs':
      return addresses.podIPs.join(',');
    default:
      throw new WeftError({ code: 'BAD_FIELD_PATH', message: `field label not supported: ${path}` });
  }
}

/** The value of a `resourceFieldRef`: a limit or request divided by the divisor, rounded up. */
export function resourceValue(
  selector: ResourceFieldSelector,
  container: Container,
  allocatable: Readonly<Record<string, string>>,
): string {
  const match = /^(limits|requests)\.(.+)$/.exec(selector.resource);
  const kind = match?.[1];
  const name = match?.[2];
  if (kind === undefined || name === undefined) {
    throw new WeftError({ code: 'BAD_RESOURCE', message: `unsupported container resource : ${selector.resource}` });
  }
  const { limits, requests } = container.resources ?? {};
  // A container without a limit may use what the node has.
  const text =
    kind === 'limits' ? (limits?.[name] ?? allocatable[name] ?? '0') : (requests?.[name] ?? limits?.[name] ?? '0');
  const value = parseQuantity(text).nanos;
  const divisor = parseQuantity(selector.divisor || '1').nanos || 1_000_000_000n;
  return String((value + divisor - 1n) / divisor);
}
