import { formatIp, parseInterfaceAddress } from '@weft/net';
import { type Allocation, type Ipam, parseWanted } from '../ipam/ipam.ts';
import { rangeSetsFromConfig } from '../ipam/range.ts';
import { execPlugin, findPlugin } from '../runtime/exec.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { type JsonObject, objectsField, parseObject, stringField } from '../spec/json.ts';
import { parseResult } from '../spec/result.ts';
import type { CniDns, CniRoute, PluginRequest } from '../spec/types.ts';
import type { PodAddress } from '../wiring/wiring.ts';

/** IPAM types that this agent answers itself, without starting a program. */
const OWN_TYPES: ReadonlySet<string> = new Set(['host-local', 'weft']);
/** Longest a delegated IPAM plugin may take, milliseconds. */
const DELEGATE_TIMEOUT_MS = 50_000;

/** Addresses for an attachment, and the record under which they are kept. */
export interface Addressing {
  readonly allocation: Allocation;
  readonly addresses: readonly PodAddress[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns | undefined;
}

export function isOwnIpam(ipam: JsonObject): boolean {
  return OWN_TYPES.has(stringField(ipam, 'type', 'ipam.type') ?? '');
}

/** Routes of an `ipam` object. */
export function routesFromConfig(ipam: JsonObject): readonly CniRoute[] {
  const routes = (objectsField(ipam, 'routes', 'ipam.routes') ?? []).map(({ value }) => value);
  return parseResult({ cniVersion: '1.1.0', routes }).routes ?? [];
}

/** Runs another vendor's IPAM plugin with the very call that we got (CNI 1.1, "Plugin delegation"). */
export async function delegateIpam(request: PluginRequest, ipam: JsonObject): Promise<string> {
  const type = stringField(ipam, 'type', 'ipam.type') ?? '';
  const file = await findPlugin(type, request.path, `network ${request.network}: ipam`);
  const env = Object.fromEntries(request.raw.env);
  return execPlugin(file, { env, stdin: request.raw.stdin, timeoutMs: DELEGATE_TIMEOUT_MS });
}

/** Sets addresses aside: from our own pool, or by asking another IPAM plugin. */
export async function reserveAddresses(
  store: Ipam,
  request: PluginRequest,
  ipam: JsonObject,
  record: Pick<Allocation, 'kind'> & {
    readonly link?: string;
    readonly sandbox?: string;
    readonly wanted: readonly string[];
  },
): Promise<Addressing> {
  const { wanted, ...rest } = record;
  const base = { ...rest, network: request.network, containerId: request.containerId, ifname: request.ifname };
  if (isOwnIpam(ipam)) {
    const { allocation, given } = store.reserve(base, rangeSetsFromConfig(ipam), parseWanted(wanted));
    const addresses = given.map(
      ({ address, range }): PodAddress => ({
        family: range.prefix.ip.family,
        ip: address,
        length: range.prefix.length,
        gateway: formatIp(range.gateway),
      }),
    );
    return { allocation, addresses, routes: routesFromConfig(ipam), dns: undefined };
  }
  // The record has no addresses of ours, but it says what must be taken down after a crash.
  const { allocation } = store.reserve(base, []);
  try {
    const result = parseResult(parseObject(await delegateIpam(request, ipam), 'IPAM result'), request.cniVersion);
    const addresses = (result.ips ?? []).map((ip): PodAddress => {
      const parsed = parseInterfaceAddress(ip.address);
      if (parsed === undefined) throw new CniError(CniCode.decode, `IPAM result: not an address: ${ip.address}`);
      const { family } = parsed.ip;
      return { family, ip: ip.address.split('/')[0] as string, length: parsed.length, gateway: ip.gateway };
    });
    if (addresses.length === 0) throw new CniError(CniCode.invalidConfig, 'the IPAM plugin gave no address');
    return { allocation, addresses, routes: result.routes ?? [], dns: result.dns };
  } catch (error) {
    store.release(allocation);
    throw error;
  }
}
