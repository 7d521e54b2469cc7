import {
  type KubeObject,
  type LabelSelector,
  matchLabelSelector,
  type Namespace,
  type ResourceType,
  type Service,
} from '@weft/kube';
import { addToIp, compareIp, type Family, formatIp, type Ip, lastAddress, parseIp, parsePrefix } from '@weft/net';

/** MetalLB's pool of addresses (metallb.io/v1beta1), so that its manifests work as they are. */
export interface IPAddressPool extends KubeObject {
  spec?: {
    /** CIDR blocks, or ranges as `192.168.1.10-192.168.1.20`. */
    addresses?: string[];
    autoAssign?: boolean;
    avoidBuggyIPs?: boolean;
    serviceAllocation?: {
      priority?: number;
      namespaces?: string[];
      namespaceSelectors?: LabelSelector[];
      serviceSelectors?: LabelSelector[];
    };
  };
}

export const IP_ADDRESS_POOLS: ResourceType<IPAddressPool> = {
  group: 'metallb.io',
  version: 'v1beta1',
  plural: 'ipaddresspools',
  singular: 'ipaddresspool',
  kind: 'IPAddressPool',
  namespaced: true,
  shortNames: [],
};

interface Range {
  readonly family: Family;
  readonly first: Ip;
  readonly last: Ip;
}

/** A pool as it is allocated from. */
export interface Pool {
  readonly name: string;
  readonly ranges: readonly Range[];
  /** Given out without being asked for by name or address. */
  readonly autoAssign: boolean;
  /** IPv4 addresses that end in .0 or .255 are left out. */
  readonly avoidBuggyIPs: boolean;
  /** Smaller first; 0 is no priority, and last. */
  readonly priority: number;
  readonly namespaces: readonly string[];
  readonly namespaceSelectors: readonly LabelSelector[];
  readonly serviceSelectors: readonly LabelSelector[];
}

/** Reads a pool; `problem` says what is wrong with it, naming the field. */
export function parsePool({
  metadata,
  spec,
}: IPAddressPool): { readonly pool: Pool; readonly problem?: undefined } | { readonly problem: string } {
  const ranges: Range[] = [];
  for (const [i, text] of (spec?.addresses ?? []).entries()) {
    const range = parseRange(text);
    if (range === undefined) {
      return {
        problem: `spec.addresses[${i}]: ${JSON.stringify(text)} is neither a block such as 192.168.1.0/28 nor a range such as 192.168.1.10-192.168.1.20`,
      };
    }
    ranges.push(range);
  }
  if (ranges.length === 0) return { problem: 'spec.addresses is empty' };
  const allocation = spec?.serviceAllocation;
  return {
    pool: {
      name: metadata.name,
      ranges,
      autoAssign: spec?.autoAssign ?? true,
      avoidBuggyIPs: spec?.avoidBuggyIPs ?? false,
      priority: allocation?.priority ?? 0,
      namespaces: allocation?.namespaces ?? [],
      namespaceSelectors: allocation?.namespaceSelectors ?? [],
      serviceSelectors: allocation?.serviceSelectors ?? [],
    },
  };
}

function parseRange(text: string): Range | undefined {
  const [from = '', to] = text.split('-').map((part) => part.trim());
  if (to === undefined) {
    const block = parsePrefix(from);
    return block === undefined ? undefined : { family: block.ip.family, first: block.ip, last: lastAddress(block) };
  }
  const [first, last] = [parseIp(from), parseIp(to)];
  if (first === undefined || last === undefined || first.family !== last.family || compareIp(first, last) > 0)
    return undefined;
  return { family: first.family, first, last };
}

/** Whether the pool holds an address and may give it away. */
export function holds(pool: Pool, ip: Ip): boolean {
  if (pool.avoidBuggyIPs && isBuggy(ip)) return false;
  return pool.ranges.some((r) => r.family === ip.family && compareIp(r.first, ip) <= 0 && compareIp(ip, r.last) <= 0);
}

function isBuggy(ip: Ip): boolean {
  const end = ip.bytes.at(-1);
  return ip.family === 4 && (end === 0 || end === 255);
}

/** The addresses of a family, in order. */
export function* addressesOf(pool: Pool, family: Family): Generator<string> {
  for (const range of pool.ranges) {
    if (range.family !== family) continue;
    for (let ip = range.first; compareIp(ip, range.last) <= 0; ip = addToIp(ip, 1)) {
      if (!pool.avoidBuggyIPs || !isBuggy(ip)) yield formatIp(ip);
      // The last address of all has no next one.
      if (compareIp(ip, range.last) === 0) break;
    }
  }
}

/** Whether a pool is meant for a Service: by its namespace and by its labels, where the pool says anything of either. */
export function serves(pool: Pool, service: Service, namespace: Namespace | undefined): boolean {
  const { namespaces, namespaceSelectors, serviceSelectors } = pool;
  const here = service.metadata.namespace ?? '';
  const labels = namespace?.metadata.labels;
  const byNamespace =
    (namespaces.length === 0 && namespaceSelectors.length === 0) ||
    namespaces.includes(here) ||
    namespaceSelectors.some((selector) => matchLabelSelector(selector, labels));
  return (
    byNamespace &&
    (serviceSelectors.length === 0 || serviceSelectors.some((s) => matchLabelSelector(s, service.metadata.labels)))
  );
}
