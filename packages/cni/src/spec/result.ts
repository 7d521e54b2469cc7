import { parseInterfaceAddress } from '@weft/net';
import { CniCode, CniError } from './errors.ts';
import {
  field,
  isObject,
  type JsonObject,
  numberField,
  objectField,
  objectsField,
  stringField,
  stringsField,
} from './json.ts';
import type { CniDns, CniInterface, CniIp, CniResult, CniRoute } from './types.ts';
import { CURRENT_VERSION, IMPLICIT_VERSION, isSupportedVersion, versionAtLeast } from './versions.ts';

function defined<T extends object>(object: T): T {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as T;
}

function readRoute(value: JsonObject, path: string): CniRoute {
  const dst = stringField(value, 'dst', `${path}.dst`);
  if (dst === undefined) throw new CniError(CniCode.decode, `${path}.dst is missing`);
  const gw = stringField(value, 'gw', `${path}.gw`);
  return defined({
    dst,
    gw: gw === '' ? undefined : gw,
    mtu: numberField(value, 'mtu', `${path}.mtu`),
    advmss: numberField(value, 'advmss', `${path}.advmss`),
    priority: numberField(value, 'priority', `${path}.priority`),
    table: numberField(value, 'table', `${path}.table`),
    scope: numberField(value, 'scope', `${path}.scope`),
  }) as CniRoute;
}

function readInterface(value: JsonObject, path: string): CniInterface {
  const text = (name: string): string | undefined => stringField(value, name, `${path}.${name}`) || undefined;
  return defined({
    name: stringField(value, 'name', `${path}.name`) ?? '',
    mac: text('mac'),
    mtu: numberField(value, 'mtu', `${path}.mtu`) || undefined,
    sandbox: text('sandbox'),
    socketPath: text('socketPath'),
    pciID: text('pciID'),
  }) as CniInterface;
}

function readIp(value: JsonObject, path: string): CniIp {
  const address = stringField(value, 'address', `${path}.address`);
  if (address === undefined || parseInterfaceAddress(address) === undefined) {
    throw new CniError(CniCode.decode, `${path}.address: not an address with a prefix length: ${address}`);
  }
  return defined({
    address,
    gateway: stringField(value, 'gateway', `${path}.gateway`) || undefined,
    interface: numberField(value, 'interface', `${path}.interface`),
  }) as CniIp;
}

/** Reads a `dns` object of a configuration, a result or a runtimeConfig. Undefined when it says nothing. */
export function readDns(value: JsonObject | undefined, path: string): CniDns | undefined {
  if (value === undefined) return undefined;
  const list = (name: string): readonly string[] | undefined => {
    const items = stringsField(value, name, `${path}.${name}`);
    return items === undefined || items.length === 0 ? undefined : items;
  };
  const dns = defined({
    nameservers: list('nameservers'),
    domain: stringField(value, 'domain', `${path}.domain`) || undefined,
    search: list('search'),
    options: list('options'),
  }) as CniDns;
  return Object.keys(dns).length === 0 ? undefined : dns;
}

function readLegacy(value: JsonObject): CniResult {
  const ips: CniIp[] = [];
  const routes: CniRoute[] = [];
  for (const name of ['ip4', 'ip6']) {
    const part = objectField(value, name);
    const ip = part === undefined ? undefined : stringField(part, 'ip', `${name}.ip`);
    if (part === undefined || ip === undefined) continue;
    ips.push(readIp({ address: ip, gateway: field(part, 'gateway') }, name));
    for (const route of objectsField(part, 'routes', `${name}.routes`) ?? []) {
      routes.push(readRoute(route.value, route.path));
    }
  }
  const dns = readDns(objectField(value, 'dns'), 'dns');
  return { ips, routes, ...(dns === undefined ? {} : { dns }) };
}

/**
 * Reads a result of any supported version into the 1.1.0 shape.
 * `fallbackVersion` is used when the result names none (libcni fills in the configuration's).
 */
export function parseResult(value: JsonObject, fallbackVersion: string = IMPLICIT_VERSION): CniResult {
  const version = stringField(value, 'cniVersion') || fallbackVersion;
  if (!isSupportedVersion(version)) {
    throw new CniError(CniCode.incompatibleVersion, `result has unsupported CNI version "${version}"`);
  }
  if (!versionAtLeast(version, '0.3.0')) return readLegacy(value);
  const dns = readDns(objectField(value, 'dns'), 'dns');
  return {
    interfaces: (objectsField(value, 'interfaces') ?? []).map((i) => readInterface(i.value, i.path)),
    ips: (objectsField(value, 'ips') ?? []).map((i) => readIp(i.value, i.path)),
    routes: (objectsField(value, 'routes') ?? []).map((r) => readRoute(r.value, r.path)),
    ...(dns === undefined ? {} : { dns }),
  };
}

function isV4(address: string): boolean {
  return !address.includes(':');
}

function legacyPart(result: CniResult, v4: boolean): object | undefined {
  const ip = result.ips?.find((candidate) => isV4(candidate.address) === v4);
  if (ip === undefined) return undefined;
  const routes = (result.routes ?? [])
    .filter((route) => isV4(route.dst) === v4)
    .map((route) => defined({ dst: route.dst, gw: route.gw }));
  return defined({ ip: ip.address, gateway: ip.gateway, routes: routes.length === 0 ? undefined : routes });
}

/** A result as the object that a plugin of `version` prints. Newer fields that the version lacks are left out. */
export function resultToVersion(result: CniResult, version: string): Record<string, unknown> {
  if (!isSupportedVersion(version)) {
    throw new CniError(CniCode.incompatibleVersion, `cannot convert a result to CNI version "${version}"`);
  }
  if (!versionAtLeast(version, '0.3.0')) {
    // The first two versions know one address per family and always print dns.
    return defined({
      cniVersion: version,
      ip4: legacyPart(result, true),
      ip6: legacyPart(result, false),
      dns: result.dns ?? {},
    });
  }
  const modern = versionAtLeast(version, '1.0.0');
  const newest = versionAtLeast(version, '1.1.0');
  const list = <T>(items: readonly T[] | undefined): readonly T[] | undefined =>
    items === undefined || items.length === 0 ? undefined : items;
  return defined({
    cniVersion: version,
    interfaces: list(
      result.interfaces?.map((i) =>
        newest ? defined({ ...i }) : defined({ name: i.name, mac: i.mac, sandbox: i.sandbox }),
      ),
    ),
    ips: list(
      result.ips?.map((ip) =>
        defined({
          ...(modern ? {} : { version: isV4(ip.address) ? '4' : '6' }),
          interface: ip.interface,
          address: ip.address,
          gateway: ip.gateway,
        }),
      ),
    ),
    // Newer attributes of routes are kept in older versions, as libcni's converter does: plugins act on them.
    routes: list(result.routes?.map((r) => defined({ ...r }))),
    dns: modern ? result.dns : (result.dns ?? {}),
  });
}

/**
 * The text a plugin prints: four spaces of indentation and no newline at the end, as the reference plugins do. From
 * 1.0.0 on their keys come in alphabetical order.
 */
export function formatResult(result: CniResult, version: string = CURRENT_VERSION): string {
  const value = resultToVersion(result, version);
  return JSON.stringify(versionAtLeast(version, '1.0.0') ? sorted(value) : value, null, 4);
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, item]) => [key, sorted(item)]));
}

/** Most interfaces, addresses or routes of one result; more is a mistake, and would cost every later plugin. */
const MOST = 1024;

/** Refuses a result that no plugin could act on: too much of everything, or addresses of interfaces it does not have. */
export function checkResult(result: CniResult): void {
  const { interfaces = [], ips = [], routes = [] } = result;
  for (const [name, list] of Object.entries({ interfaces, ips, routes })) {
    if (list.length > MOST) throw new CniError(CniCode.decode, `result: ${name}: ${list.length} are more than ${MOST}`);
  }
  ips.forEach((ip, i) => {
    if (ip.interface === undefined) return;
    const known = Number.isInteger(ip.interface) && ip.interface >= 0 && ip.interface < interfaces.length;
    if (known || (interfaces.length === 0 && ip.interface === 0)) return;
    throw new CniError(
      CniCode.decode,
      `result: ips[${i}].interface: ${ip.interface} is none of the ${interfaces.length} interfaces`,
    );
  });
}
