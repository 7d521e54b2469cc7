import { type Family, formatPrefix, parsePrefix, prefixContains } from '@weft/net';
import type { Entry } from '@weft/plan';
import { candidates, selectBackends } from './endpoints.ts';
import { type NodeFacts, primaryAddresses } from './node.ts';
import { addressWidth, formatAddress, type Packed, packAddress, unpackIp } from './packed.ts';
import type { SlimPort, SlimService, SlimSlice } from './slim.ts';
import { type FrontendInit, PackedPort } from './port.ts';
import { type FrontendKind, frontendKey, type Planned, planKey } from './types.ts';

/** Unit of the plan that holds what comes from this node alone. Service units are `ns/name`. */
export const NODE_UNIT = 'node';

const EVERYONE: readonly string[] = [];

/** The frontends of one port; an address that is listed twice is one frontend, and the last kind names it. */
function frontends(service: SlimService, port: SlimPort, portIndex: number, family: Family): FrontendInit[] {
  const width = addressWidth(family);
  const clusterIP = family === 4 ? service.ip4 : service.ip6;
  const out: FrontendInit[] = [];
  const add = (kind: FrontendKind, address: Packed, number: number, index: number): void => {
    const key = frontendKey(address, port.protocol, number);
    const known = out.findIndex((f) => f.key === key);
    if (known < 0) out.push({ kind, key, index });
    else if (out[known]?.kind !== 'ClusterIP') out[known] = { kind, key, index };
  };
  if (clusterIP !== '') add('ClusterIP', clusterIP, port.port, service.first === family ? 0 : 1);
  service.external?.externalIPs.forEach((text, i) => {
    const address = packAddress(text);
    if (address?.length === width) add('ExternalIP', address, port.port, i);
  });
  service.external?.loadBalancerIPs.forEach((text, i) => {
    const address = packAddress(text);
    if (address?.length === width) add('LoadBalancerIP', address, port.port, i);
  });
  if (port.nodePort > 0) add('NodePort', '', port.nodePort, portIndex);
  return out;
}

/**
 * Ranges of this family in canonical, sorted form. Empty when everyone may come: no range of the family, or one that
 * holds every address. A range that holds an address of this node lets the node reach the balancer's address itself,
 * with that address as its source.
 */
function sourceRanges(
  service: SlimService,
  family: Family,
  node: NodeFacts,
  list: readonly FrontendInit[],
): readonly string[] {
  const out = new Set<string>();
  let ownNode = false;
  for (const text of service.external?.sourceRanges ?? []) {
    const prefix = parsePrefix(text);
    if (prefix === undefined || prefix.ip.family !== family) continue;
    if (prefix.length === 0) return EVERYONE;
    out.add(formatPrefix(prefix));
    ownNode ||= node.addresses.some((a) => a.length === prefix.ip.bytes.length && prefixContains(prefix, unpackIp(a)));
  }
  if (out.size > 0 && ownNode) {
    for (const f of list) {
      if (f.kind === 'LoadBalancerIP') out.add(`${formatAddress(f.key.slice(0, -3))}/${family === 4 ? 32 : 128}`);
    }
  }
  return out.size === 0 ? EVERYONE : [...out].sort();
}

function servicePort(
  service: SlimService,
  index: number,
  family: Family,
  slices: readonly SlimSlice[],
  node: NodeFacts,
): PackedPort | undefined {
  const port = service.ports[index];
  if (port === undefined || port.port === 0) return undefined;
  // A Service is of the families of its ClusterIPs: its NodePorts answer in no other one.
  if ((family === 4 ? service.ip4 : service.ip6) === '') return undefined;
  const list = frontends(service, port, index, family);
  if (list.length === 0) return undefined;
  const reachable = list.some((f) => f.kind !== 'ClusterIP');
  const external = service.externalPolicy === 'Local' && reachable ? 'Local' : 'Cluster';
  const uses = {
    cluster: service.internal === 'Cluster' || reachable,
    local: service.internal === 'Local' || external === 'Local',
    // With the Local policy a pod of another node may come in through this one, and its source is kept.
    hairpinAll: external === 'Local',
    draining: port.protocol === 'UDP',
  };
  const backends = selectBackends(candidates(slices, family, port.name, port.protocol), node, uses);
  const healthCheckNodePort = external === 'Local' ? (service.external?.healthCheckNodePort ?? 0) : 0;
  return new PackedPort({
    service: service.key,
    settings: {
      family,
      protocol: port.protocol,
      portName: port.name,
      internal: service.internal,
      external,
      affinitySeconds: service.affinitySeconds,
    },
    frontends: list,
    hasEndpoints: backends.any,
    cluster: backends.cluster,
    local: backends.local,
    draining: backends.draining,
    hairpin: backends.hairpin,
    sourceRanges: reachable ? sourceRanges(service, family, node, list) : EVERYONE,
    healthCheckNodePort,
    localReady: healthCheckNodePort > 0 ? backends.localReady : 0,
    portIndex: index,
  });
}

/** Pure: everything that must exist because of one Service. `families` are those this node serves. */
export function compileService(
  service: SlimService,
  slices: readonly SlimSlice[],
  node: NodeFacts,
  families: readonly Family[],
): Map<string, Entry<Planned>> {
  const plan = new Map<string, Entry<Planned>>();
  for (const family of families) {
    for (let index = 0; index < service.ports.length; index++) {
      const value = servicePort(service, index, family, slices, node);
      if (value === undefined) continue;
      const key = planKey(value);
      // Two ports of one name and protocol are refused by the API server; the first one stands.
      if (plan.has(key)) continue;
      plan.set(key, value);
    }
  }
  return plan;
}

/** Pure: the addresses of the node on which NodePorts answer when they are not given as CIDRs. */
export function compileNode(
  node: NodeFacts,
  families: readonly Family[],
  primary: boolean,
): Map<string, Entry<Planned>> {
  const plan = new Map<string, Entry<Planned>>();
  if (!primary) return plan;
  for (const address of primaryAddresses(node)) {
    const family = address.length === 4 ? 4 : 6;
    if (!families.includes(family)) continue;
    plan.set(`${NODE_UNIT} ${formatAddress(address)}`, {
      value: { type: 'NodePortAddress', family, address },
      cause: { kind: 'Node', name: node.name, field: 'status.addresses' },
    });
  }
  return plan;
}
