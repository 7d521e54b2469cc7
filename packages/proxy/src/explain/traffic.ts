import type { Flow } from '@weft/kernel';
import { endpointWidth, formatEndpoint, type Packed, packAddress, packPort, unpackList } from '../model/packed.ts';
import { frontendKey, type Protocol, type ServicePort } from '../model/types.ts';

/** What goes to one endpoint of a service port through the node's frontends. */
export interface BackendTraffic {
  /** `10.244.0.11:8080`. */
  readonly endpoint: string;
  /** The plan still sends new connections there. */
  readonly inUse: boolean;
  /** Connections and flows that the kernel tracks now. */
  readonly connections: number;
  /** Packets of these, there and back; undefined where the kernel does not count (net.netfilter.nf_conntrack_acct). */
  readonly packets?: number;
  readonly bytes?: number;
}

export interface PortTraffic {
  readonly port: string;
  readonly protocol: Protocol;
  readonly family: 4 | 6;
  /** By endpoint, sorted; those in use are there also when nothing goes to them. */
  readonly backends: readonly BackendTraffic[];
}

const PROTOCOLS: Readonly<Record<number, Protocol>> = { 6: 'TCP', 17: 'UDP', 132: 'SCTP' };

/** TCP state from which on a connection is over, and only kept in mind. */
const TIME_WAIT = 7;

interface Count {
  connections: number;
  packets: bigint;
  bytes: bigint;
  counted: boolean;
}

/** Pure: counts the tracked flows of a Service's ports by the endpoint that answers. */
export function trafficOf(ports: readonly ServicePort[], flows: readonly Flow[]): PortTraffic[] {
  const owners = new Map<Packed, { readonly port: ServicePort; readonly counts: Map<Packed, Count> }>();
  const all = ports.map((port) => {
    const counts = new Map<Packed, Count>();
    const width = endpointWidth(port.family);
    for (const endpoint of unpackList(port.cluster, width).concat(unpackList(port.local, width)))
      counts.set(endpoint, { connections: 0, packets: 0n, bytes: 0n, counted: false });
    const owner = { port, counts, used: new Set(counts.keys()) };
    // Frontends of one family and protocol are nobody else's; NodePorts have no address, so the family tells them apart.
    for (const f of port.frontends) owners.set(`${port.family}${f.key}`, owner);
    return owner;
  });
  for (const flow of flows) {
    const protocol = PROTOCOLS[flow.proto];
    if (protocol === undefined || (flow.tcpState ?? 0) >= TIME_WAIT) continue;
    const destination = packAddress(flow.orig.dst) ?? '';
    const moved = flow.reply.src !== flow.orig.dst || flow.reply.sport !== flow.orig.dport;
    // An endpoint may itself be asked on the port of a frontend: only what was translated came by one.
    if (!moved) continue;
    const owner =
      owners.get(`${flow.family}${frontendKey(destination, protocol, flow.orig.dport)}`) ??
      owners.get(`${flow.family}${frontendKey('', protocol, flow.orig.dport)}`);
    if (owner === undefined) continue;
    const endpoint = (packAddress(flow.reply.src) ?? '') + packPort(flow.reply.sport);
    const count = owner.counts.get(endpoint) ?? { connections: 0, packets: 0n, bytes: 0n, counted: false };
    owner.counts.set(endpoint, count);
    count.connections += 1;
    if (flow.counters === undefined) continue;
    const { orig, reply } = flow.counters;
    count.counted = true;
    count.packets += orig.packets + reply.packets;
    count.bytes += orig.bytes + reply.bytes;
  }
  return all.map(({ port, counts, used }) => ({
    port: port.portName,
    protocol: port.protocol,
    family: port.family,
    backends: [...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([endpoint, { connections, packets, bytes, counted }]) => ({
        endpoint: formatEndpoint(endpoint),
        inUse: used.has(endpoint),
        connections,
        ...(counted ? { packets: Number(packets), bytes: Number(bytes) } : {}),
      })),
  }));
}
