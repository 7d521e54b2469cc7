import { type Family, formatPrefix, parsePrefix, prefixContains, type Prefix } from '@weft/net';
import type { Provenance } from '@weft/plan';
import type { FilterRule, RibRoute } from '../rib/index.ts';
import type { BgpSettings } from './settings.ts';
import type { BgpService, BgpWorld } from './world.ts';

/** Label of nodes that must not attract traffic of Services from outside (well-known label of Kubernetes). */
const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';

function prefixes(blocks: readonly { readonly cidr: string }[] | undefined): Prefix[] {
  return (blocks ?? []).map(({ cidr }) => parsePrefix(cidr)).filter((p): p is Prefix => p !== undefined);
}

/** Own routes with the object behind each; the first that asks for a prefix is named. */
class Own {
  readonly routes = new Map<string, RibRoute>();

  add(prefix: Prefix | undefined, cause: Provenance): void {
    if (prefix === undefined) return;
    const text = formatPrefix(prefix);
    if (this.routes.has(text)) return;
    const family: Family = prefix.ip.family;
    this.routes.set(text, { prefix: text, family, attributes: { origin: 'igp', asPath: [] }, cause });
  }
}

function hostRoute(address: string): Prefix | undefined {
  return parsePrefix(`${address}/${address.includes(':') ? 128 : 32}`);
}

function addServices(own: Own, services: readonly BgpService[], settings: BgpSettings): void {
  const { serviceClusterIPs, serviceExternalIPs, serviceLoadBalancerIPs, serviceLoadBalancerAggregation } =
    settings.spec;
  const config = { kind: 'BGPConfiguration', name: 'default' } as const;
  const kinds = [
    {
      blocks: prefixes(serviceClusterIPs),
      field: 'serviceClusterIPs',
      of: (s: BgpService) => s.clusterIPs,
      whole: true,
    },
    {
      blocks: prefixes(serviceExternalIPs),
      field: 'serviceExternalIPs',
      of: (s: BgpService) => s.externalIPs,
      whole: true,
    },
    {
      blocks: prefixes(serviceLoadBalancerIPs),
      field: 'serviceLoadBalancerIPs',
      of: (s: BgpService) => s.loadBalancerIPs,
      whole: serviceLoadBalancerAggregation !== 'Disabled',
    },
  ];
  for (const { blocks, field, of, whole } of kinds) {
    for (const block of whole ? blocks : []) own.add(block, { ...config, field: `spec.${field}` });
    for (const service of services) {
      // A host route draws traffic to the nodes with endpoints, where the policy wants it; all others go by the block.
      if (service.local ? !service.here : whole) continue;
      for (const address of of(service)) {
        const host = hostRoute(address);
        if (host === undefined || !blocks.some((block) => prefixContains(block, host.ip))) continue;
        const { namespace, name } = service;
        own.add(host, { kind: 'Service', namespace, name, field: 'spec.externalTrafficPolicy' });
      }
    }
  }
}

/** The routes that this node announces as its own: its blocks of pods, and addresses of Services. */
export function ownRoutes(world: BgpWorld, settings: BgpSettings): readonly RibRoute[] {
  const { self } = world;
  const own = new Own();
  for (const cidr of self.podCidrs)
    own.add(parsePrefix(cidr), { kind: 'Node', name: self.name, field: 'spec.podCIDRs' });
  const hidden = prefixes(world.pools.filter((pool) => pool.spec.disableBGPExport === true).map((pool) => pool.spec));
  for (const { cidr, kind, name } of world.blocksOf(self.name)) {
    const prefix = parsePrefix(cidr);
    if (prefix !== undefined && hidden.some((pool) => prefixContains(pool, prefix.ip))) continue;
    own.add(prefix, { kind, name, field: 'spec' });
  }
  if (self.labels[EXCLUDED] === undefined) addServices(own, world.services, settings);
  return [...own.routes.values()];
}

/**
 * Rules for what is passed on of others' routes: pods' addresses and those of Services, as Calico's nodes do. A node that
 * passed on everything would lead its neighbours' traffic through itself.
 */
export function transitRules(world: BgpWorld, settings: BgpSettings): readonly FilterRule[] {
  const accept = (cidr: Prefix): FilterRule => ({ action: 'Accept', cidr, operator: 'In', remoteOnly: true });
  const { serviceClusterIPs, serviceExternalIPs, serviceLoadBalancerIPs } = settings.spec;
  const shown = world.pools.filter((pool) => pool.spec.disableBGPExport !== true);
  const hidden = world.pools.filter((pool) => pool.spec.disableBGPExport === true);
  return [
    ...prefixes(hidden.map((pool) => pool.spec)).map(
      (cidr): FilterRule => ({ action: 'Reject', cidr, operator: 'In' }),
    ),
    ...prefixes(shown.map((pool) => pool.spec)).map(accept),
    ...prefixes(world.nodes.flatMap((node) => node.podCidrs.map((cidr) => ({ cidr })))).map(accept),
    ...[serviceClusterIPs, serviceExternalIPs, serviceLoadBalancerIPs].flatMap(prefixes).map(accept),
    { action: 'Reject', remoteOnly: true },
  ];
}
