import { formatIp, parseInterfaceAddress, parseIp, prefixContains } from '@weft/net';
import {
  type AddressRequest,
  type Allocation,
  type Ipam,
  parseWanted,
  type PodReference,
  type Reservation,
} from '../ipam/ipam.ts';
import { type AddressRange, type RangeSet, rangeSetsFromConfig } from '../ipam/range.ts';
import type { AddressAuthority, AddressQuestion } from '../pools/authority.ts';
import { execPlugin, findPlugin } from '../runtime/exec.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import {
  field,
  isObject,
  type JsonObject,
  objectsField,
  parseObject,
  stringField,
  stringsField,
} from '../spec/json.ts';
import { parseResult } from '../spec/result.ts';
import type { CniDns, CniRoute, PluginRequest } from '../spec/types.ts';
import type { PodAddress } from '../wiring/wiring.ts';
import { runtimeConfig } from './common/conf.ts';

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
  /** MAC address that the pod asks for by annotation. */
  readonly mac?: string | undefined;
}

/** IPAM type whose addresses the agent's authority chooses, when there is one. */
export const POOLS_TYPE = 'weft';
/** Capability by which containerd tells the annotations of the pod. */
export const ANNOTATIONS = 'io.kubernetes.cri.pod-annotations';
/** How often more addresses are waited for in one ADD. */
const GROW_LIMIT = 5;

/** The pod that a runtime calls for, by CNI_ARGS as kubelets' runtimes send them. */
export function podOf(args: ReadonlyMap<string, string>): PodReference | undefined {
  const [namespace, name] = [args.get('K8S_POD_NAMESPACE'), args.get('K8S_POD_NAME')];
  const uid = args.get('K8S_POD_UID');
  if (!namespace || !name) return undefined;
  return { namespace, name, ...(uid ? { uid } : {}) };
}

/** Ranges of an `ipam` object of type `weft`, which may have none: pools serve then. */
export function rangesOrNone(ipam: JsonObject): readonly RangeSet[] {
  return field(ipam, 'ranges') === undefined && field(ipam, 'subnet') === undefined ? [] : rangeSetsFromConfig(ipam);
}

/** The configured range that an address lies in, whoever chose it. */
function ownRangeOf(ipam: JsonObject, address: string): AddressRange | undefined {
  const ip = parseIp(address);
  if (ip === undefined) return undefined;
  return rangesOrNone(ipam)
    .flatMap((set) => set.ranges)
    .find(({ prefix }) => prefixContains(prefix, ip));
}

/**
 * Whether a bridge can be the gateway of these addresses: those of the configured ranges, not those of pools. Throws for
 * some of each, because pods of a bridge look for their neighbours on it.
 */
export function bridgeable(ipam: JsonObject, addresses: readonly string[]): boolean {
  if (stringField(ipam, 'type', 'ipam.type') !== POOLS_TYPE) return true;
  const inside = addresses.filter((address) => ownRangeOf(ipam, address) !== undefined);
  if (inside.length === 0 || inside.length === addresses.length) return inside.length > 0;
  throw new CniError(
    CniCode.invalidConfig,
    `mode "bridge": ${addresses.join(' and ')} are of a pool and of the node's own CIDR`,
    'ask for addresses of pools of both families, or use mode "ptp"',
  );
}

/** The same choice without the addresses that a bridge has as gateway. */
function withoutGateways(requests: readonly AddressRequest[], own: readonly RangeSet[]): readonly AddressRequest[] {
  const gateways = own.flatMap((set) => set.ranges.map(({ gateway }) => gateway));
  const guarded = (range: AddressRange): AddressRange => {
    const gateway = gateways.find((ip) => prefixContains(range.prefix, ip));
    return gateway === undefined ? range : { ...range, gateway };
  };
  const sets = (list: readonly RangeSet[]) => list.map((set) => ({ ...set, ranges: set.ranges.map(guarded) }));
  return requests.map((request) => ({ ...request, sets: sets(request.sets) }));
}

/** Sets addresses aside as the authority chooses; when they run out, waits for what it can get in addition. */
async function reserveChosen(
  store: Ipam,
  authority: AddressAuthority,
  question: AddressQuestion,
  base: Omit<Allocation, 'state' | 'addresses' | 'since'>,
  bridged: boolean,
): Promise<Reservation & { readonly mac: string | undefined }> {
  for (let round = 0; ; round++) {
    const { requests, mac, sticky } = await authority.choose(question);
    try {
      const record = { ...base, ...(sticky ? { sticky } : {}) };
      const wanted = bridged ? withoutGateways(requests, question.ranges) : requests;
      return { ...store.reserveFrom(record, wanted), mac };
    } catch (error) {
      const exhausted = error instanceof CniError && error.cniCode === CniCode.tryAgainLater;
      if (!exhausted || round >= GROW_LIMIT) throw error;
      const why = await authority.grow(question);
      if (why === undefined) continue;
      throw new CniError(error.cniCode, why === '' ? error.message : `${error.message}; ${why}`, error.details, error);
    }
  }
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
    /** A bridge is the gateway of the configured ranges. */
    readonly bridged?: boolean;
  },
  authority?: AddressAuthority,
): Promise<Addressing> {
  const { wanted, bridged = false, ...rest } = record;
  const pod = podOf(request.args);
  const attachment = { network: request.network, containerId: request.containerId, ifname: request.ifname };
  const base = { ...rest, ...attachment, ...(pod === undefined ? {} : { pod }) };
  if (isOwnIpam(ipam)) {
    const chosen = authority !== undefined && stringField(ipam, 'type', 'ipam.type') === POOLS_TYPE;
    const reserved: Reservation & { readonly mac?: string | undefined } = chosen
      ? await reserveChosen(store, authority, questionOf(request, ipam, parseWanted(wanted), pod), base, bridged)
      : store.reserve(base, rangeSetsFromConfig(ipam), parseWanted(wanted));
    const { allocation, given, mac } = reserved;
    const addresses = given.map(({ address, range }): PodAddress => {
      const { prefix, gateway } = (bridged ? ownRangeOf(ipam, address) : undefined) ?? range;
      return { family: prefix.ip.family, ip: address, length: prefix.length, gateway: formatIp(gateway) };
    });
    return { allocation, addresses, routes: routesFromConfig(ipam), dns: undefined, mac };
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

function questionOf(
  request: PluginRequest,
  ipam: JsonObject,
  exact: AddressQuestion['exact'],
  pod: PodReference | undefined,
): AddressQuestion {
  const told = runtimeConfig(request.config, ANNOTATIONS);
  const [pools4, pools6] = [stringsField(ipam, 'ipv4_pools'), stringsField(ipam, 'ipv6_pools')];
  return {
    network: request.network,
    containerId: request.containerId,
    ifname: request.ifname,
    pod,
    annotations: isObject(told) ? textsOf(told) : undefined,
    ranges: rangesOrNone(ipam),
    configured: { ...(pools4 === undefined ? {} : { 4: pools4 }), ...(pools6 === undefined ? {} : { 6: pools6 }) },
    exact,
  };
}

function textsOf(object: JsonObject): Record<string, string> {
  return Object.fromEntries(Object.entries(object).filter((e): e is [string, string] => typeof e[1] === 'string'));
}
