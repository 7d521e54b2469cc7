import type { Namespace, Service } from '@weft/kube';
import { type Family, formatIp, parseIp } from '@weft/net';
import { addressesOf, holds, type Pool, serves } from './pool.ts';

/** MetalLB's annotations, by the prefix of today and by that of before 0.15. */
const PREFIXES = ['metallb.io', 'metallb.universe.tf'] as const;

function annotation(service: Service, name: string): string | undefined {
  for (const prefix of PREFIXES) {
    const value = service.metadata.annotations?.[`${prefix}/${name}`];
    if (value !== undefined && value !== '') return value;
  }
  return undefined;
}

/** What a Service holds an address with: others may have it too when they agree on the key and differ in the ports. */
export interface Holder {
  /** `ns/name`. */
  readonly service: string;
  /** `TCP/80`. */
  readonly ports: readonly string[];
  /** `metallb.io/allow-shared-ip`; '' shares with nobody. */
  readonly sharing: string;
  /** Services of the Local policy share only when they lead to the same pods. */
  readonly backend: string;
}

export function holderOf(service: Service): Holder {
  const { metadata, spec } = service;
  return {
    service: `${metadata.namespace ?? ''}/${metadata.name}`,
    ports: (spec.ports ?? []).map((port) => `${port.protocol ?? 'TCP'}/${port.port}`),
    sharing: annotation(service, 'allow-shared-ip') ?? '',
    backend:
      spec.externalTrafficPolicy === 'Local'
        ? JSON.stringify(Object.entries(spec.selector ?? {}).sort(([a], [b]) => (a < b ? -1 : 1)))
        : 'any',
  };
}

/** Why an address that others have cannot be had too; undefined when it can. */
function conflict(wanted: Holder, holders: readonly Holder[]): string | undefined {
  for (const other of holders) {
    if (other.service === wanted.service) continue;
    if (wanted.sharing === '' || other.sharing === '') return `Service ${other.service} has it`;
    if (wanted.sharing !== other.sharing) return `Service ${other.service} shares it under another key`;
    if (wanted.backend !== other.backend) return `Service ${other.service} has it with the Local policy and other pods`;
    const port = wanted.ports.find((p) => other.ports.includes(p));
    if (port !== undefined) return `Service ${other.service} has its port ${port}`;
  }
  return undefined;
}

export interface Situation {
  readonly pools: readonly Pool[];
  /** Who has which address, the Service itself included. */
  readonly holders: (ip: string) => readonly Holder[];
  readonly namespace: Namespace | undefined;
}

export type Allocation =
  | { readonly ips: readonly string[]; readonly pool: string; readonly error?: undefined }
  | { readonly ips?: undefined; readonly error: string };

/** The addresses that a Service has by its status. */
export function statusIps(service: Service): string[] {
  return (service.status?.loadBalancer?.ingress ?? []).flatMap((i) => i.ip ?? []);
}

/**
 * Which addresses a Service of type LoadBalancer gets, one per family of its ClusterIPs, all of one pool. Those it has
 * stay as long as they may; those it asks for by annotation or `spec.loadBalancerIP` are given or refused; else the first
 * free ones of the first pool that is meant for it. Pure.
 */
export function allocate(service: Service, at: Situation): Allocation {
  const families = familiesOf(service);
  if (families.length === 0) return { error: 'it has no ClusterIP yet' };
  const wanted = holderOf(service);
  const asked = askedFor(service);
  if (asked.error !== undefined) return { error: asked.error };
  const named = annotation(service, 'address-pool');
  const pools = at.pools.filter(
    (pool) => (named === undefined || pool.name === named) && serves(pool, service, at.namespace),
  );
  if (named !== undefined && pools.length === 0) return { error: `unknown pool "${named}", or one that is not for it` };
  const fits = (ips: readonly string[], list: readonly Pool[]): Pool | undefined =>
    list.find((pool) => ips.every((text) => holds(pool, parseIp(text) as NonNullable<ReturnType<typeof parseIp>>)));

  if (asked.ips.length > 0) {
    const pool = fits(asked.ips, pools);
    if (pool === undefined) return { error: `${asked.ips.join(', ')} is not in any pool that is for it` };
    const wrong = asked.ips.find((ip) => !families.includes(parseIp(ip)?.family as Family));
    if (wrong !== undefined) return { error: `${wrong} is of a family that the Service does not have` };
    for (const ip of asked.ips) {
      const why = conflict(wanted, at.holders(ip));
      if (why !== undefined) return { error: `${ip} cannot be had: ${why}` };
    }
    return { ips: asked.ips, pool: pool.name };
  }

  const current = statusIps(service);
  const kept = current.length === families.length && current.every((ip, i) => parseIp(ip)?.family === families[i]);
  const home = kept ? fits(current, pools) : undefined;
  if (home !== undefined && current.every((ip) => conflict(wanted, at.holders(ip)) === undefined)) {
    return { ips: current, pool: home.name };
  }

  const order = pools
    .filter((pool) => pool.autoAssign || named !== undefined)
    .sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  for (const pool of order) {
    const ips = families.map((family) => free(pool, family, wanted, at));
    if (ips.every((ip) => ip !== undefined)) return { ips: ips as string[], pool: pool.name };
  }
  return { error: at.pools.length === 0 ? 'there is no pool (kind IPAddressPool)' : 'no available IPs' };
}

function rank(pool: Pool): number {
  const own = pool.namespaces.length + pool.namespaceSelectors.length + pool.serviceSelectors.length > 0;
  // A pool that is meant for somebody comes before those for everybody.
  return (own ? 0 : 2 ** 31) + (pool.priority === 0 ? 2 ** 30 : pool.priority);
}

function free(pool: Pool, family: Family, wanted: Holder, at: Situation): string | undefined {
  for (const ip of addressesOf(pool, family)) {
    const holders = at.holders(ip).filter((h) => h.service !== wanted.service);
    // Sharing is for those who name an address: nobody is put with others unasked.
    if (holders.length === 0) return ip;
  }
  return undefined;
}

/** Families in the order of the Service's ClusterIPs. */
function familiesOf({ spec }: Service): Family[] {
  const ips = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  return ips.flatMap((ip) => parseIp(ip)?.family ?? []);
}

function askedFor(service: Service): { readonly ips: readonly string[]; readonly error?: string } {
  const text = annotation(service, 'loadBalancerIPs') ?? service.spec.loadBalancerIP ?? '';
  if (text === '') return { ips: [] };
  const ips: string[] = [];
  for (const part of text.split(',').map((p) => p.trim())) {
    const ip = parseIp(part);
    if (ip === undefined) return { ips: [], error: `${JSON.stringify(part)} is not an IP address` };
    ips.push(formatIp(ip));
  }
  return { ips };
}
