import { readFileSync } from 'node:fs';
import { addressAt, compareIp, formatIp, indexIn, type Ip, parseIp } from '@weft/net';
import { errorMessage } from '@weft/plan';
import { type AddressRange, type RangeSet, rangeOf, rangeSetsFromConfig, rangeSetSize } from '../ipam/range.ts';
import { checkKnownArgs } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { arrayField, field, isObject, type JsonObject, objectField, stringField, stringsField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniDns, CniIp, CniResult, CniRoute, Plugin, PluginRequest } from '../spec/types.ts';
import { versionAtLeast } from '../spec/versions.ts';
import { routesFromConfig } from './addressing.ts';
import { cniArg, invalid, parseAddress, runtimeConfig } from './common/conf.ts';
import { HostLocalStore } from './host-local-store.ts';
import type { MakePlugin } from './registry.ts';

const DATA_DIR = '/var/lib/cni/networks';

interface HostLocalConfig {
  readonly sets: readonly RangeSet[];
  readonly routes: readonly CniRoute[];
  readonly dns: CniDns | undefined;
  readonly store: HostLocalStore;
}

function ipamOf(request: PluginRequest): JsonObject {
  const ipam = field(request.config, 'ipam');
  if (isObject(ipam)) return ipam;
  throw invalid('IPAM config missing `ipam` key');
}

function storeOf(request: PluginRequest, ipam: JsonObject): HostLocalStore {
  return new HostLocalStore(stringField(ipam, 'dataDir', 'ipam.dataDir') || DATA_DIR, request.network);
}

/** Range sets in the reference's order: those of capability `ipRanges`, the `subnet` beside `ranges`, `ranges`. */
function readRanges(request: PluginRequest, ipam: JsonObject): readonly RangeSet[] {
  const told = arrayField({ list: runtimeConfig(request.config, 'ipRanges') }, 'list', 'runtimeConfig.ipRanges') ?? [];
  const single = field(ipam, 'subnet') === undefined ? [] : [[ipam]];
  const sets = rangeSetsFromConfig({ ranges: [...told, ...single, ...(arrayField(ipam, 'ranges') ?? [])] });
  if (versionAtLeast(request.cniVersion, '0.3.0')) return sets;
  for (const family of [4, 6]) {
    if (sets.filter((set) => set.family === family).length < 2) continue;
    throw invalid(`CNI version ${request.cniVersion} does not support more than 1 address per family`);
  }
  return sets;
}

/** Reads a resolv.conf as the reference does: lists of several lines are joined. */
function readResolvConf(path: string): CniDns | undefined {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new CniError(CniCode.io, `ipam.resolvConf: ${errorMessage(error)}`, undefined, error);
  }
  const lines = text
    .split('\n')
    .map((line) => line.trim().split(/\s+/))
    .filter(([first = '']) => first !== '' && !/^[#;]/.test(first));
  const all = (key: string): string[] => lines.filter(([first]) => first === key).flatMap(([, ...rest]) => rest);
  const nameservers = lines.filter(([first]) => first === 'nameserver').map(([, address = '']) => address);
  return readDns(
    { nameservers, domain: all('domain').at(-1) ?? '', search: all('search'), options: all('options') },
    path,
  );
}

function read(request: PluginRequest): HostLocalConfig {
  const ipam = ipamOf(request);
  const resolvConf = stringField(ipam, 'resolvConf', 'ipam.resolvConf');
  return {
    sets: readRanges(request, ipam),
    routes: routesFromConfig(ipam),
    dns: resolvConf ? readResolvConf(resolvConf) : readDns(objectField(ipam, 'dns', 'ipam.dns'), 'ipam.dns'),
    store: storeOf(request, ipam),
  };
}

/** Addresses asked for, from all three places (the reference adds them up). */
function readWanted(request: PluginRequest): Map<string, Ip> {
  checkKnownArgs(request.args, ['IP']);
  const texts = [
    ...(request.args.get('IP') ?? '').split(',').filter((text) => text !== ''),
    ...(stringsField({ ips: cniArg(request.config, 'ips') }, 'ips', 'args.cni.ips') ?? []),
    ...(stringsField({ ips: runtimeConfig(request.config, 'ips') }, 'ips', 'runtimeConfig.ips') ?? []),
  ];
  const wanted = new Map<string, Ip>();
  for (const text of texts) {
    const ip = parseAddress(text.split('/')[0] as string, 'ips');
    wanted.set(ip, parseIp(ip) as Ip);
  }
  return wanted;
}

/** Addresses of a range set in the order they are tried: from behind the last one, round to it. */
function* candidates(set: RangeSet, last: string | undefined): Generator<{ ip: string; range: AddressRange }> {
  const after = last === undefined ? undefined : parseIp(last);
  const range = after === undefined ? undefined : rangeOf(set, after);
  const start = range === undefined ? 0 : set.ranges.indexOf(range);
  const resume = range === undefined || after === undefined ? undefined : indexIn(range.prefix, after);
  for (let i = 0; i <= set.ranges.length; i++) {
    const current = set.ranges[(start + i) % set.ranges.length] as AddressRange;
    // The range that was begun in the middle comes again for its first half.
    const first = i === 0 && resume !== undefined ? resume + 1n : current.first;
    const end = i === set.ranges.length ? (resume ?? current.first - 1n) : current.last;
    for (let at = first; at <= end; at++) {
      const ip = addressAt(current.prefix, at);
      if (compareIp(ip, current.gateway) !== 0) yield { ip: formatIp(ip), range: current };
    }
  }
}

function describe(set: RangeSet): string {
  return set.ranges.map((range) => range.subnet).join(', ');
}

/** IPAM from ranges, with the files of the reference plugin: both may serve one network at the same time. */
class HostLocalPlugin implements Plugin {
  readonly name = 'host-local';

  async add(request: PluginRequest): Promise<CniResult> {
    const { sets, routes, dns, store } = read(request);
    const wanted = readWanted(request);
    const ips = await store.locked(() => {
      const given: string[] = [];
      try {
        const all = sets.map((set, i) => reserve(store, request, set, i, wanted, given));
        const [unserved] = wanted.keys();
        if (unserved !== undefined) throw invalid(`host-local: the requested address ${unserved} is in no range`);
        return all;
      } catch (error) {
        for (const ip of given) store.free(ip);
        throw error;
      }
    });
    return { ips, routes, ...(dns === undefined ? {} : { dns }) };
  }

  async del(request: PluginRequest): Promise<void> {
    const store = storeOf(request, ipamOf(request));
    try {
      await store.locked(() => store.release(request));
    } catch (error) {
      // A disk that cannot be written keeps nobody from going who has nothing there.
      const held = await store.looking(() => store.of(request)).catch(() => [request.containerId]);
      if (held.length > 0) throw error;
    }
  }

  async check(request: PluginRequest): Promise<void> {
    const store = storeOf(request, ipamOf(request));
    const own = await store.looking(() => store.of(request));
    if (own.length > 0) return;
    throw new CniError(CniCode.unknownContainer, `host-local: no address of container ${request.containerId} is known`);
  }

  async status(request: PluginRequest): Promise<void> {
    const { sets, store } = read(request);
    const taken = await store.looking(() => store.taken());
    for (const set of sets) {
      const inside = [...taken].filter((text) => rangeOf(set, parseIp(text) as Ip) !== undefined).length;
      if (BigInt(inside) < rangeSetSize(set)) continue;
      throw new CniError(
        CniCode.unavailable,
        `network ${request.network}: all ${inside} addresses of ${describe(set)} are in use`,
      );
    }
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments } = request;
    if (validAttachments === undefined) return;
    const store = storeOf(request, ipamOf(request));
    await store.locked(() => store.keepOnly(validAttachments));
  }
}

/** Sets one address of a range set aside, and notes it in `given`. An address asked for is taken out of `wanted`. */
function reserve(
  store: HostLocalStore,
  request: PluginRequest,
  set: RangeSet,
  index: number,
  wanted: Map<string, Ip>,
  given: string[],
): CniIp {
  const answer = (ip: string, range: AddressRange): CniIp => {
    given.push(ip);
    return { address: `${ip}/${range.prefix.length}`, gateway: formatIp(range.gateway) };
  };
  for (const [text, ip] of wanted) {
    const gateway = set.ranges.find((range) => compareIp(ip, range.gateway) === 0);
    if (gateway !== undefined)
      throw invalid(`host-local: the requested address ${text} is the gateway of ${gateway.subnet}`);
    const range = rangeOf(set, ip);
    if (range === undefined) continue;
    wanted.delete(text);
    if (store.reserve(text, request, index)) return answer(text, range);
    throw new CniError(CniCode.tryAgainLater, `host-local: the requested address ${text} is in use`);
  }
  const held = store
    .of(request)
    .find((text) => !given.includes(text) && rangeOf(set, parseIp(text) as Ip) !== undefined);
  if (held !== undefined) {
    throw new CniError(
      CniCode.interfaceExists,
      `host-local: ${held} has been allocated to ${request.containerId}, duplicate allocation is not allowed`,
    );
  }
  const taken = store.taken();
  for (const { ip, range } of candidates(set, store.last(index))) {
    if (!taken.has(ip) && store.reserve(ip, request, index)) return answer(ip, range);
  }
  throw new CniError(CniCode.tryAgainLater, `host-local: no IP addresses available in range set ${describe(set)}`);
}

export const hostLocal: MakePlugin = () => new HostLocalPlugin();
