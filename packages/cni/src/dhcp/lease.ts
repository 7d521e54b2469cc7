import { formatIp, formatPrefix, ipFromBytes, prefixOf } from '@weft/net';
import type { CniResult, CniRoute } from '../spec/types.ts';
import { addressOption, type DhcpMessage, numberOption, OPTION } from './packet.ts';

const HOUR = 3600;
const LINK_SCOPE = 253;
const NOWHERE = '0.0.0.0';

/** What a server granted. Times are seconds from the acknowledgement. */
export interface Lease {
  readonly address: string;
  readonly prefixLength: number;
  readonly server: string | undefined;
  /** Routers, the best first. */
  readonly gateway: string | undefined;
  readonly routes: readonly CniRoute[];
  readonly duration: number;
  readonly renewAfter: number;
  readonly rebindAfter: number;
}

/** Length of a mask; undefined when it is none. */
function maskLength(mask: Uint8Array): number | undefined {
  const bits = mask.reduce((text, byte) => text + byte.toString(2).padStart(8, '0'), '');
  return /^1*0*$/.test(bits) ? bits.lastIndexOf('1') + 1 : undefined;
}

/** Reads an acknowledgement; undefined when it grants no address that could be used. Pure. */
export function readLease(ack: DhcpMessage): Lease | undefined {
  const mask = ack.options.get(OPTION.SUBNET_MASK);
  const prefixLength = mask?.length === 4 ? maskLength(mask) : undefined;
  if (prefixLength === undefined || ack.yiaddr === NOWHERE) return undefined;
  const duration = numberOption(ack, OPTION.LEASE_TIME) ?? HOUR;
  const rebindAfter = Math.min(numberOption(ack, OPTION.REBINDING_TIME) ?? Math.floor(duration * 0.85), duration);
  const gateway = addressOption(ack, OPTION.ROUTER);
  return {
    address: ack.yiaddr,
    prefixLength,
    server: addressOption(ack, OPTION.SERVER_ID),
    gateway,
    routes: routesOf(ack, gateway),
    duration,
    rebindAfter,
    renewAfter: Math.min(numberOption(ack, OPTION.RENEWAL_TIME) ?? Math.floor(duration / 2), rebindAfter),
  };
}

/** Classless routes take the place of static ones and the router (RFC 3442). */
function routesOf(ack: DhcpMessage, gateway: string | undefined): readonly CniRoute[] {
  const classless = classlessRoutes(ack.options.get(OPTION.CLASSLESS_ROUTES) ?? new Uint8Array());
  if (classless.length > 0) return classless;
  const routes = staticRoutes(ack.options.get(OPTION.STATIC_ROUTES) ?? new Uint8Array());
  return gateway === undefined ? routes : [...routes, { dst: '0.0.0.0/0', gw: gateway }];
}

/** Option 121: length of the prefix, its significant bytes, the router. Ends where it is cut off. */
export function classlessRoutes(bytes: Uint8Array): readonly CniRoute[] {
  const routes: CniRoute[] = [];
  let at = 0;
  while (at < bytes.length) {
    const length = bytes[at] as number;
    const size = Math.ceil(length / 8);
    if (length > 32 || at + 1 + size + 4 > bytes.length) break;
    const network = new Uint8Array(4);
    network.set(bytes.subarray(at + 1, at + 1 + size));
    const gw = formatIp(bytes.subarray(at + 1 + size, at + 5 + size));
    const dst = formatPrefix(prefixOf(ipFromBytes(network), length));
    routes.push(gw === NOWHERE ? { dst, scope: LINK_SCOPE } : { dst, gw });
    at += 5 + size;
  }
  return routes;
}

/** Option 33: pairs of a classful destination and a router. */
export function staticRoutes(bytes: Uint8Array): readonly CniRoute[] {
  const routes: CniRoute[] = [];
  for (let at = 0; at + 8 <= bytes.length; at += 8) {
    const first = bytes[at] as number;
    const length = first < 128 ? 8 : first < 192 ? 16 : 24;
    const dst = formatPrefix(prefixOf(ipFromBytes(bytes.slice(at, at + 4)), length));
    routes.push({ dst, gw: formatIp(bytes.subarray(at + 4, at + 8)) });
  }
  return routes;
}

/** What the IPAM plugin answers. `priority` is the metric of its routes. */
export function leaseResult(lease: Lease, priority: number | undefined): CniResult {
  return {
    ips: [
      {
        address: `${lease.address}/${lease.prefixLength}`,
        ...(lease.gateway === undefined ? {} : { gateway: lease.gateway }),
      },
    ],
    routes: lease.routes.map((route) => ({ ...route, ...(priority ? { priority } : {}) })),
  };
}
