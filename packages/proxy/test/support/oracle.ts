import type { EndpointSlice, Service } from '@weft/kube';

/**
 * What a Service means, straight from API objects and the words of the specification: slow, plain, and with nothing in
 * common with the code under test. Worlds of IPv4 only.
 */
export interface World {
  readonly services: readonly Service[];
  readonly slices: readonly EndpointSlice[];
  readonly node: string;
  readonly nodeAddress: string;
}

/** Where a packet comes from: a pod of this node or of another, the node itself, or a host outside. */
export interface Source {
  readonly kind: 'pod' | 'node' | 'outside';
  readonly address: string;
}

export interface Target {
  readonly address: string;
  readonly port: number;
  readonly protocol: 'TCP' | 'UDP';
}

export interface Answer {
  /** `pass`: no Service is concerned. */
  readonly verdict: 'serve' | 'reject' | 'drop' | 'pass';
  /** `ip:port` of all who may answer, sorted. */
  readonly endpoints: readonly string[];
  /** Whether the server sees the node instead of the client; by endpoint, since those who meet themselves do so too. */
  readonly masqueraded: readonly boolean[];
}

const PASS: Answer = { verdict: 'pass', endpoints: [], masqueraded: [] };

export function inRange(address: string, cidr: string): boolean {
  const number = (text: string): number => text.split('.').reduce((sum, part) => sum * 256 + Number(part), 0);
  const [base = '', bits = '32'] = cidr.split('/');
  const size = 2 ** (32 - Number(bits));
  return Math.floor(number(address) / size) === Math.floor(number(base) / size);
}

interface Candidate {
  readonly text: string;
  readonly local: boolean;
  readonly ready: boolean;
  readonly serving: boolean;
  readonly terminating: boolean;
}

/** Endpoints of a port; of two reports about one endpoint the better one counts. */
function candidates(world: World, service: Service, portName: string, protocol: string): Candidate[] {
  const found = new Map<string, Candidate>();
  const worth = (c: Candidate): number =>
    Number(c.local) * 8 + Number(c.ready) * 4 + Number(c.serving) * 2 + Number(!c.terminating);
  for (const slice of world.slices) {
    if (slice.metadata.labels?.['kubernetes.io/service-name'] !== service.metadata.name) continue;
    const port = slice.ports?.find((p) => (p.name ?? '') === portName && (p.protocol ?? 'TCP') === protocol);
    if (port?.port === undefined) continue;
    for (const endpoint of slice.endpoints ?? []) {
      const ready = endpoint.conditions?.ready ?? true;
      const candidate = {
        text: `${endpoint.addresses[0]}:${port.port}`,
        local: endpoint.nodeName === world.node,
        ready,
        serving: endpoint.conditions?.serving ?? ready,
        terminating: endpoint.conditions?.terminating ?? false,
      };
      const other = found.get(candidate.text);
      if (other === undefined || worth(candidate) > worth(other)) found.set(candidate.text, candidate);
    }
  }
  return [...found.values()];
}

/** KEP-1669: ready ones, or where there is none those that still serve while they terminate. */
function usable(list: readonly Candidate[]): string[] {
  const ready = list.filter((c) => c.ready);
  const chosen = ready.length > 0 ? ready : list.filter((c) => c.serving && c.terminating);
  return chosen.map((c) => c.text).sort();
}

/** How the Service that owns the target treats a first packet. `isFirst` says who wins an address two Services want. */
export function oracle(world: World, source: Source, target: Target): Answer[] {
  const answers: Answer[] = [];
  for (const service of world.services) {
    for (const port of service.spec.ports ?? []) {
      if ((port.protocol ?? 'TCP') !== target.protocol) continue;
      const kind = frontend(world, service, port, target);
      if (kind !== undefined) answers.push(treat(world, service, port, kind, source, target));
    }
  }
  return answers.length === 0 ? [PASS] : answers;
}

type Port = NonNullable<Service['spec']['ports']>[number];
type Kind = 'ClusterIP' | 'NodePort' | 'ExternalIP' | 'LoadBalancerIP';

function frontend(world: World, service: Service, port: Port, target: Target): Kind | undefined {
  if (target.address === world.nodeAddress && port.nodePort === target.port) return 'NodePort';
  if (port.port !== target.port) return undefined;
  if (service.spec.clusterIP === target.address) return 'ClusterIP';
  if (service.status?.loadBalancer?.ingress?.some((i) => i.ip === target.address) === true) return 'LoadBalancerIP';
  if (service.spec.externalIPs?.includes(target.address) === true) return 'ExternalIP';
  return undefined;
}

function isReachable(service: Service): boolean {
  return (
    (service.spec.ports ?? []).some((p) => (p.nodePort ?? 0) > 0) ||
    (service.spec.externalIPs ?? []).length > 0 ||
    (service.status?.loadBalancer?.ingress ?? []).length > 0
  );
}

function treat(world: World, service: Service, port: Port, kind: Kind, source: Source, target: Target): Answer {
  const all = candidates(world, service, port.name ?? '', target.protocol);
  const cluster = usable(all);
  const local = usable(all.filter((c) => c.local));
  if (all.length === 0 || (cluster.length === 0 && local.length === 0)) return { ...PASS, verdict: 'reject' };
  if (kind === 'ClusterIP') {
    const policy = service.spec.internalTrafficPolicy === 'Local' ? local : cluster;
    if (policy.length === 0) return { ...PASS, verdict: 'drop' };
    return serve(policy, source, source.kind !== 'pod');
  }
  const ranges = service.spec.loadBalancerSourceRanges ?? [];
  if (kind === 'LoadBalancerIP' && ranges.length > 0) {
    const own = ranges.some((range) => inRange(world.nodeAddress, range)) && source.address === target.address;
    if (!own && !ranges.some((range) => inRange(source.address, range))) return { ...PASS, verdict: 'drop' };
  }
  if (service.spec.externalTrafficPolicy !== 'Local' || !isReachable(service)) return serve(cluster, source, true);
  if (source.kind === 'pod') return serve(cluster, source, false);
  if (source.kind === 'node') return serve(cluster, source, true);
  return local.length === 0 ? { ...PASS, verdict: 'drop' } : serve(local, source, false);
}

function serve(endpoints: readonly string[], source: Source, masquerade: boolean): Answer {
  return {
    verdict: 'serve',
    endpoints,
    masqueraded: endpoints.map((text) => masquerade || text.startsWith(`${source.address}:`)),
  };
}
