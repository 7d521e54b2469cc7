import { formatPrefix, lastAddress, formatIp, parseInterfaceAddress, parsePrefix, prefixOf } from '@weft/net';
import { type Address, isKernelError, type Link, readSysctl, type Route, writeSysctl, type NetNs } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import type { CniIp, CniResult, CniRoute } from '../../spec/types.ts';
import { familyOf } from './conf.ts';
import type { Sandbox } from './sandbox.ts';

export function differs(what: string): CniError {
  return new CniError(CniCode.checkFailed, what);
}

/** Switches IPv6 on for interfaces, where a runtime has switched it off. Does nothing where the kernel has no IPv6. */
export function enableIpv6(ns: NetNs, ifnames: readonly string[]): void {
  for (const name of ifnames) {
    const key = `net/ipv6/conf/${name}/disable_ipv6`;
    try {
      if (readSysctl(key, ns) !== '0') writeSysctl(key, '0', ns);
    } catch (error) {
      if (!isKernelError(error, 'ENOENT')) throw error;
    }
  }
}

/** Broadcast address that belongs to an IPv4 address with its length; undefined where there is none. */
export function broadcastOf(address: string): string | undefined {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined || parsed.ip.family === 6 || parsed.length >= 31) return undefined;
  return formatIp(lastAddress(prefixOf(parsed.ip, parsed.length)));
}

export interface AddressOptions {
  /** Do not let the kernel add the route to the subnet. */
  readonly noPrefixRoute?: boolean;
  /** Let IPv6 addresses be probed for duplicates before they are used. Without it they can be used at once. */
  readonly dad?: boolean;
}

/** Puts the addresses and routes of a result on an interface of a sandbox (brings it up first). */
export async function configureInterface(
  sandbox: Sandbox,
  link: { readonly index: number; readonly name: string },
  result: { readonly ips: readonly CniIp[]; readonly routes: readonly CniRoute[] },
  options: AddressOptions = {},
): Promise<void> {
  const { rtnl, ns } = sandbox;
  if (result.ips.some((ip) => familyOf(ip.address) === 6)) enableIpv6(ns, ['lo', link.name]);
  await rtnl.batch((b) => {
    b.links.set(link.index, { up: true });
    for (const { address } of result.ips) {
      const broadcast = broadcastOf(address);
      b.addresses.add({
        index: link.index,
        address,
        ...(broadcast === undefined ? {} : { broadcast }),
        ...(familyOf(address) === 6 && options.dad !== true ? { noDad: true } : {}),
        ...(options.noPrefixRoute === true ? { noPrefixRoute: true } : {}),
      });
    }
  });
  await addRoutes(sandbox, link.index, result);
}

/** Adds routes by an interface; those without a gateway go by that of the first address of their family. */
export async function addRoutes(
  sandbox: Sandbox,
  index: number,
  result: { readonly ips: readonly CniIp[]; readonly routes: readonly CniRoute[] },
): Promise<void> {
  const routes = result.routes.map((route) => kernelRoute(route, index, gatewayOf(result.ips, familyOf(route.dst))));
  for (const route of routes) {
    try {
      await sandbox.rtnl.routes.append(route);
    } catch (error) {
      if (!isKernelError(error, 'EEXIST')) throw error;
    }
  }
}

function gatewayOf(ips: readonly CniIp[], family: 4 | 6): string | undefined {
  return ips.find((ip) => ip.gateway !== undefined && familyOf(ip.gateway) === family)?.gateway;
}

/** Scopes by their numbers, as results of CNI 1.1 carry them. */
const SCOPES: Readonly<Record<number, Route['scope']>> = {
  0: 'global',
  200: 'site',
  253: 'link',
  254: 'host',
  255: 'nowhere',
};

function kernelRoute(route: CniRoute, oif: number, fallback: string | undefined): Route {
  const via = route.gw ?? fallback;
  const scope = route.scope === undefined ? undefined : SCOPES[route.scope];
  return {
    dst: prefixText(route.dst),
    family: familyOf(route.dst),
    oif,
    // A route of link scope has no gateway.
    ...(via === undefined || scope === 'link' ? {} : { via }),
    ...(route.mtu ? { mtu: route.mtu } : {}),
    ...(route.advmss ? { advmss: route.advmss } : {}),
    ...(route.priority ? { metric: route.priority } : {}),
    ...(route.table === undefined ? {} : { table: route.table }),
    ...(scope === undefined ? {} : { scope }),
  };
}

/** A destination as the kernel interface writes it: `default`, or a prefix with its host bits cleared. */
function prefixText(dst: string): string {
  const prefix = parsePrefix(dst.includes('/') ? dst : `${dst}/${dst.includes(':') ? 128 : 32}`);
  if (prefix === undefined) throw new CniError(CniCode.decode, `routes: not a destination: ${dst}`);
  return prefix.length === 0 ? 'default' : formatPrefix(prefix);
}

/** The interface of a result that is in this sandbox under this name. */
export function sandboxInterface(result: CniResult, ifname: string, sandbox: string): { mac?: string; mtu?: number } {
  const found = result.interfaces?.find((i) => i.name === ifname && i.sandbox === sandbox);
  if (found === undefined) throw differs(`prevResult has no interface ${ifname} in ${sandbox}`);
  return found;
}

/** The part of a result that is about one interface of a sandbox. */
function addressesOf(result: CniResult, ifname: string): readonly CniIp[] {
  return (result.ips ?? []).filter(
    (ip) => ip.interface === undefined || result.interfaces?.[ip.interface]?.name === ifname,
  );
}

/** What CHECK wants of a sandbox's interface: it is up, with its MAC address, addresses and routes. */
export async function checkInterface(sandbox: Sandbox, ifname: string, result: CniResult): Promise<Link> {
  const told = sandboxInterface(result, ifname, sandbox.path);
  const link = await sandbox.rtnl.links.get(ifname);
  if (link === undefined) throw differs(`interface ${ifname} is missing in the sandbox`);
  if (!link.up) throw differs(`interface ${ifname} is down in the sandbox`);
  if (told.mac !== undefined && told.mac.toLowerCase() !== link.mac) {
    throw differs(`interface ${ifname} has MAC address ${link.mac}, not ${told.mac}`);
  }
  if (told.mtu !== undefined && told.mtu !== link.mtu) {
    throw differs(`interface ${ifname} has MTU ${link.mtu}, not ${told.mtu}`);
  }
  checkAddresses(await sandbox.rtnl.addresses.list({ index: link.index }), addressesOf(result, ifname), ifname);
  await checkRoutes(sandbox, link, result);
  return link;
}

function checkAddresses(present: readonly Address[], wanted: readonly CniIp[], ifname: string): void {
  const texts = new Set(present.map((a) => a.address));
  for (const { address } of wanted) {
    const parsed = parseInterfaceAddress(address);
    const text = parsed === undefined ? address : `${formatIp(parsed.ip)}/${parsed.length}`;
    if (!texts.has(text)) throw differs(`interface ${ifname} lacks the address ${text}`);
  }
}

async function checkRoutes(sandbox: Sandbox, link: Link, result: CniResult): Promise<void> {
  const routes = result.routes ?? [];
  if (routes.length === 0) return;
  const present = await sandbox.rtnl.routes.list();
  for (const route of routes) {
    const wanted = kernelRoute(route, link.index, undefined);
    const found = present.some(
      (r) =>
        (r.family ?? (r.dst.includes(':') ? 6 : 4)) === wanted.family &&
        r.dst === wanted.dst &&
        // Later plugins of a chain (sbr, vrf) move routes to tables of their own.
        (wanted.table === undefined || r.table === wanted.table) &&
        (wanted.via === undefined || r.via === wanted.via || r.nexthops?.some((hop) => hop.via === wanted.via)),
    );
    if (!found)
      throw differs(`the route to ${route.dst}${route.gw ? ` by ${route.gw}` : ''} is missing in the sandbox`);
  }
}
