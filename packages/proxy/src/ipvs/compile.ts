import { type IpSetElement, IPVS_PERSISTENT, IPVS_SCHED2, type IpvsProtocol, type IpvsService } from '@weft/kernel';
import type { FamilyConfig } from '../config.ts';
import { addressWidth, endpointWidth, formatAddress, type Packed, portOf, unpackList } from '../model/packed.ts';
import { type Frontend, frontendAddress, type Protocol, type ServicePort } from '../model/types.ts';
import type { SetName } from './names.ts';
import type { ClosedToNode } from './rules.ts';

/** IPVS's own settings, as kube-proxy's configuration has them. */
export interface IpvsSettings {
  /** Default `rr`. */
  readonly scheduler?: string;
  /** Answer ARP only for addresses of the interface asked (for load balancers that announce by ARP). */
  readonly strictARP?: boolean;
  /** Blocks whose virtual services belong to others and are left alone. */
  readonly excludeCIDRs?: readonly string[];
  /** Seconds; 0 leaves the kernel's own. */
  readonly tcpTimeout?: number;
  readonly tcpFinTimeout?: number;
  readonly udpTimeout?: number;
}

const PROTOCOLS: Readonly<Record<Protocol, IpvsProtocol>> = { TCP: 6, UDP: 17, SCTP: 132 };

/** A virtual service that the plan asks for, and its endpoints. */
export interface WantedServer {
  /** `address|protocol|port`. */
  readonly key: string;
  readonly service: IpvsService;
  /** Packed endpoints. */
  readonly endpoints: Packed;
  /** Packed endpoints whose UDP flows go on while they get no new ones. */
  readonly draining: Packed;
}

/** An element that the plan asks for. */
interface WantedElement {
  readonly set: SetName;
  readonly element: IpSetElement;
}

/** What one service port needs of the kernel. */
export interface PortWants {
  readonly servers: readonly WantedServer[];
  readonly elements: readonly WantedElement[];
  /** Addresses that the dummy link has to hold. */
  readonly bound: readonly string[];
  readonly closed: readonly ClosedToNode[];
}

/** What a service port's wants depend on beside itself. */
export interface Surroundings {
  readonly config: FamilyConfig;
  readonly settings: IpvsSettings;
  /** Addresses of this node, those of the dummy link left out. */
  readonly local: ReadonlySet<string>;
  /** Those of them on which NodePorts answer. */
  readonly nodePortAddresses: readonly string[];
}

export function serverKey(service: Pick<IpvsService, 'address' | 'protocol' | 'port'>): string {
  return `${service.address}|${service.protocol}|${service.port}`;
}

/** Compiles one service port. Pure. */
export function compilePort(port: ServicePort, around: Surroundings): PortWants {
  const servers: WantedServer[] = [];
  const elements: WantedElement[] = [];
  const bound: string[] = [];
  const closed: ClosedToNode[] = [];
  const protocol = PROTOCOLS[port.protocol];
  const scheduler = around.settings.scheduler ?? 'rr';
  const serve = (address: string, number: number, policy: 'Cluster' | 'Local'): void => {
    const service: IpvsService = {
      address,
      protocol,
      port: number,
      scheduler,
      flags: (port.affinitySeconds > 0 ? IPVS_PERSISTENT : 0) | (scheduler === 'mh' ? IPVS_SCHED2 : 0),
      timeout: port.affinitySeconds,
    };
    // A node without endpoints of its own sends what reaches it to others all the same (kubernetes#97081): clients
    // beyond the node get their answers from an address they never asked, and give up.
    const endpoints = policy === 'Local' && port.local !== '' ? port.local : port.cluster;
    servers.push({ key: serverKey(service), service, endpoints, draining: port.draining });
  };
  const add = (set: SetName, element: IpSetElement): void => void elements.push({ set, element });

  for (const frontend of port.frontends) {
    const number = portOf(frontend.key);
    if (frontend.kind === 'NodePort') {
      nodePort(port, number, around.nodePortAddresses, add);
      for (const address of around.nodePortAddresses) serve(address, number, port.external);
      continue;
    }
    const address = formatAddress(frontendAddress(frontend.key));
    const element = { ip: address, protocol, port: number };
    serve(address, number, frontend.kind === 'ClusterIP' ? port.internal : port.external);
    // An address that another interface has stays there.
    if (!around.local.has(address)) bound.push(address);
    for (const set of setsOf(frontend, port)) add(set, element);
    if (frontend.kind === 'LoadBalancerIP' && port.sourceRanges.length > 0) {
      // The plan lists the address itself where the node may use it: its packets have it for their source.
      const own = `${address}/${port.family === 4 ? 32 : 128}`;
      for (const range of port.sourceRanges) {
        const [ip2, length] = range.split('/') as [string, string];
        if (range !== own) add('KUBE-LOAD-BALANCER-SOURCE-CIDR', { ...element, ip2, length2: Number(length) });
      }
      if (port.sourceRanges.includes(own)) add('KUBE-LOAD-BALANCER-SOURCE-IP', { ...element, ip2: address });
      else closed.push({ address, protocol: port.protocol.toLowerCase(), port: number });
    }
  }
  if (port.healthCheckNodePort > 0) add('KUBE-HEALTH-CHECK-NODE-PORT', { port: port.healthCheckNodePort });
  for (const element of hairpins(port, protocol)) add('KUBE-LOOP-BACK', element);
  return { servers, elements, bound, closed };
}

function setsOf(frontend: Frontend, port: ServicePort): SetName[] {
  const local = port.external === 'Local';
  switch (frontend.kind) {
    case 'ClusterIP':
      return ['KUBE-CLUSTER-IP'];
    case 'ExternalIP':
      return [local ? 'KUBE-EXTERNAL-IP-LOCAL' : 'KUBE-EXTERNAL-IP'];
    case 'LoadBalancerIP': {
      const sets: SetName[] = ['KUBE-LOAD-BALANCER'];
      if (local) sets.push('KUBE-LOAD-BALANCER-LOCAL');
      if (port.sourceRanges.length > 0) sets.push('KUBE-LOAD-BALANCER-FW');
      return sets;
    }
    case 'NodePort':
      return [];
  }
}

function nodePort(
  port: ServicePort,
  number: number,
  addresses: readonly string[],
  add: (set: SetName, element: IpSetElement) => void,
): void {
  const local = port.external === 'Local' ? '-LOCAL' : '';
  if (port.protocol !== 'SCTP') {
    for (const part of new Set(['', local])) add(`KUBE-NODE-PORT${part}-${port.protocol}` as SetName, { port: number });
    return;
  }
  // Bitmaps of ports do not tell SCTP.
  for (const part of new Set(['', local]))
    for (const ip of addresses)
      add(`KUBE-NODE-PORT${part}-SCTP-HASH` as SetName, { ip, protocol: PROTOCOLS.SCTP, port: number });
}

/** Endpoints that may connect to themselves, each with the ports it serves on. */
function hairpins(port: ServicePort, protocol: IpvsProtocol): IpSetElement[] {
  if (port.hairpin === '') return [];
  const width = addressWidth(port.family);
  const own = new Set(unpackList(port.hairpin, width));
  const seen = new Set<Packed>();
  const out: IpSetElement[] = [];
  for (const endpoint of unpackList(port.cluster + port.local, endpointWidth(port.family))) {
    if (seen.has(endpoint) || !own.has(endpoint.slice(0, width))) continue;
    seen.add(endpoint);
    const ip = formatAddress(endpoint.slice(0, width));
    out.push({ ip, protocol, port: portOf(endpoint), ip2: ip });
  }
  return out;
}
