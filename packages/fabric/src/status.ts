import { formatProvenance, type LoopState, type Plan } from '@weft/plan';
import { formatPrefix } from '@weft/net';
import type { Underlay } from './backend.ts';
import type { FabricEntry } from './entries.ts';
import type { FabricCondition, FabricNode } from './nodes.ts';

/** How one destination at a peer is reached. */
interface PeerRoute {
  readonly dst: string;
  /** Next hop, end of the tunnel, or what else decides; '' for what is on the link. */
  readonly via: string;
  /** Device of ours; absent when the underlay's own carries it. */
  readonly device?: string;
  /** The object and field that say so, as `Node n2 spec.podCIDRs[0]`. */
  readonly cause: string;
}

/** Another node as this one sees it. */
export interface FabricPeerStatus {
  readonly node: string;
  readonly addresses: readonly string[];
  readonly podCidrs: readonly string[];
  readonly routes: readonly PeerRoute[];
  /** Neighbour, forwarding, proxy and endpoint entries beside the routes. */
  readonly otherEntries: number;
  /** Why it cannot be reached, in whole or in part. */
  readonly problems: readonly string[];
}

/** What the fabric of one node has to say. Times are RFC 3339. */
export interface FabricStatus {
  readonly node: string;
  readonly backend: string;
  /** Bytes. */
  readonly podMtu: number | undefined;
  readonly encrypted: boolean;
  readonly underlay: { readonly name: string; readonly mtu: number; readonly subnets: readonly string[] } | undefined;
  readonly devices: readonly { readonly name: string; readonly kind: string; readonly mtu: number }[];
  readonly peers: readonly FabricPeerStatus[];
  /** What is wrong with this node itself. */
  readonly problems: readonly string[];
  readonly entries: number;
  /** Units that wait to be applied, and the reason of the last failure, if it still holds. */
  readonly pending: number;
  readonly lastError: string | undefined;
  readonly lastChange: string | undefined;
  /** Entries that others had changed, found and repaired since the agent started. */
  readonly drift: { readonly repaired: number; readonly last: string | undefined };
}

export interface FabricStatusInput {
  readonly node: string;
  readonly backend: string;
  readonly podMtu: number | undefined;
  readonly encrypted: boolean;
  readonly underlay: Underlay | undefined;
  readonly nodes: readonly FabricNode[];
  readonly conditions: readonly FabricCondition[];
  readonly plan: Plan<FabricEntry>;
  readonly state: LoopState;
  readonly drift: { readonly repaired: number; readonly lastAt: number | undefined };
}

const timeOf = (ms: number | undefined): string | undefined =>
  ms === undefined ? undefined : new Date(ms).toISOString();

/** Who an entry leads to: its cause, or for blocks of pools the node whose address it leads to. */
function ownerOf(
  entry: FabricEntry,
  cause: { readonly kind: string; readonly name: string },
  byAddress: Owners,
): string {
  if (cause.kind === 'Node') return cause.name;
  const address =
    entry.type === 'route' ? (entry.encap?.dst ?? entry.via) : entry.type === 'endpoint' ? entry.endpoint : '';
  return byAddress.get(address ?? '') ?? '';
}

type Owners = ReadonlyMap<string, string>;

/** Pure: what a plan and its surroundings say, node by node. */
export function fabricStatus(input: FabricStatusInput): FabricStatus {
  const { node, plan, conditions, underlay, state } = input;
  const addresses = (of: FabricNode): string[] => Object.values(of.ip);
  const byAddress: Owners = new Map(input.nodes.flatMap((of) => addresses(of).map((ip) => [ip, of.name] as const)));
  const routes = new Map<string, PeerRoute[]>();
  const others = new Map<string, number>();
  const devices: FabricStatus['devices'][number][] = [];
  for (const { value, cause } of plan.values()) {
    const owner = ownerOf(value, cause, byAddress);
    if (value.type === 'device') devices.push({ name: value.name, kind: value.kind, mtu: value.mtu });
    if (owner === node) continue;
    if (value.type !== 'route') {
      others.set(owner, (others.get(owner) ?? 0) + 1);
      continue;
    }
    const via = value.encap?.dst ?? value.hops?.join(', ') ?? value.via ?? '';
    const route = {
      dst: value.dst,
      via,
      ...(value.device === undefined ? {} : { device: value.device }),
      cause: formatProvenance(cause),
    };
    routes.set(owner, [...(routes.get(owner) ?? []), route]);
  }
  const problemsOf = (name: string): string[] =>
    conditions.filter((c) => c.node === name).map(({ reason, message }) => `${reason}: ${message}`);
  return {
    node,
    backend: input.backend,
    podMtu: input.podMtu,
    encrypted: input.encrypted,
    underlay:
      underlay === undefined
        ? undefined
        : { name: underlay.name, mtu: underlay.mtu, subnets: underlay.subnets.map(formatPrefix) },
    devices,
    peers: input.nodes
      .filter((of) => of.name !== node)
      .map((of) => ({
        node: of.name,
        addresses: addresses(of),
        podCidrs: of.podCidrs,
        routes: (routes.get(of.name) ?? []).toSorted((a, b) => (a.dst < b.dst ? -1 : 1)),
        otherEntries: others.get(of.name) ?? 0,
        problems: problemsOf(of.name),
      }))
      .toSorted((a, b) => a.node.localeCompare(b.node, 'en', { numeric: true })),
    problems: problemsOf(node),
    entries: state.entries,
    pending: state.pending,
    lastError: state.lastError,
    lastChange: timeOf(state.lastAppliedAt),
    drift: { repaired: input.drift.repaired, last: timeOf(input.drift.lastAt) },
  };
}
