import path from 'node:path';
import { addressAt, formatIp, ipBytes, parsePrefix, type Prefix, subnetAt } from '@weft/net';
import { type ClusterConfig, nodePlaces } from '../cluster/config.ts';

/** Offsets inside each /24 of the underlay. */
const ROUTER_OFFSET = 1;
const HOST_OFFSET = 254;

/** The addresses of the lab's own network, all derived from the configuration. */
export interface UnderlayAddresses {
  /** Address of the router in each subnet: the nodes' default gateway. */
  readonly routers: readonly string[];
  /** Address of the host's end of the link, in the first subnet. */
  readonly host: string;
  readonly nodes: ReadonlyMap<string, { readonly address: string; readonly subnet: number; readonly gateway: string }>;
  readonly subnets: readonly Prefix[];
}

/** Pure: who has which address. */
export function underlayAddresses(config: ClusterConfig): UnderlayAddresses {
  const whole = parsePrefix(config.underlayCidr) as Prefix;
  const subnets = Array.from({ length: config.subnets }, (_, i) => subnetAt(whole, 24, i));
  const routers = subnets.map((s) => formatIp(addressAt(s, ROUTER_OFFSET)));
  const nodes = new Map(
    nodePlaces(config).map((place) => [
      place.name,
      {
        address: formatIp(addressAt(subnets[place.subnet] as Prefix, place.offset)),
        subnet: place.subnet,
        gateway: routers[place.subnet] as string,
      },
    ]),
  );
  return { routers, host: formatIp(addressAt(subnets[0] as Prefix, HOST_OFFSET)), nodes, subnets };
}

/** Path of a node's (or, as `lab`, the router's) network namespace. */
export function netnsPath(netnsDir: string, name: string): string {
  return path.join(netnsDir, name);
}

/**
 * Hardware address that goes with an address of the underlay. A node that comes back is the machine it was: were it
 * another one, its neighbours would send to the old for as long as they remember it.
 */
export function hardwareAddress(ip: string): string {
  return [2, 0, ...ipBytes(ip)].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
}

/** Name of subnet `i`'s bridge in the router's namespace. */
export function bridgeName(subnet: number): string {
  return `under${subnet}`;
}

/** MTU of the nodes' own network, in bytes. */
export const UNDERLAY_MTU = 1500;

/** Port on which pods reach the API at the router's address; the host's port may be any. */
export const UNDERLAY_API_PORT = 6443;
