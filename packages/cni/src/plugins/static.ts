import { parseInterfaceAddress, parseIp, prefixContains, prefixOf } from '@weft/net';
import { checkKnownArgs } from '../spec/environment.ts';
import {
  field,
  isObject,
  type JsonObject,
  objectField,
  objectsField,
  stringField,
  stringsField,
} from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniIp, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { versionAtLeast } from '../spec/versions.ts';
import { routesFromConfig } from './addressing.ts';
import { cniArg, familyOf, invalid, parseAddress, parseAddressWithLength, runtimeConfig } from './common/conf.ts';
import { differs } from './common/interface.ts';
import type { MakePlugin } from './registry.ts';

/**
 * Where the addresses come from, the strongest first: capability `ips`, `args.cni.ips`, and `ipam.addresses` with those
 * of `IP` in CNI_ARGS behind them.
 */
function readAddresses(request: PluginRequest, ipam: JsonObject): readonly CniIp[] {
  const lists = [
    { path: 'runtimeConfig.ips', list: stringsField({ ips: runtimeConfig(request.config, 'ips') }, 'ips') },
    { path: 'args.cni.ips', list: stringsField({ ips: cniArg(request.config, 'ips') }, 'ips') },
  ];
  for (const { path, list = [] } of lists) {
    if (list.length > 0) return list.map((text, i) => ({ address: parseAddressWithLength(text, `${path}[${i}]`) }));
  }
  const configured = (objectsField(ipam, 'addresses', 'ipam.addresses') ?? []).map(({ value, path }): CniIp => {
    const address = stringField(value, 'address', `${path}.address`) ?? '';
    const gateway = stringField(value, 'gateway', `${path}.gateway`);
    return {
      address: parseAddressWithLength(address, `${path}.address`),
      ...(gateway ? { gateway: parseAddress(gateway, `${path}.gateway`) } : {}),
    };
  });
  const items = (key: string): string[] => (request.args.get(key) ?? '').split(',').map((text) => text.trim());
  const asked = items('IP')
    .filter((text) => text !== '')
    .map((text): CniIp => ({ address: parseAddressWithLength(text, 'CNI_ARGS: IP') }));
  const gateways = items('GATEWAY')
    .filter((text) => text !== '')
    .map((text) => parseAddress(text, 'CNI_ARGS: GATEWAY'));
  return [...configured, ...asked].map((ip) => {
    const gateway = gateways.findLast((text) => isInside(text, ip.address));
    return gateway === undefined ? ip : { ...ip, gateway };
  });
}

function isInside(address: string, withLength: string): boolean {
  const [ip, block] = [parseIp(address), parseInterfaceAddress(withLength)];
  return ip !== undefined && block !== undefined && prefixContains(prefixOf(block.ip, block.length), ip);
}

function read(request: PluginRequest): CniResult {
  const ipam = field(request.config, 'ipam');
  if (!isObject(ipam)) throw invalid('IPAM config missing `ipam` key');
  checkKnownArgs(request.args, ['IP', 'GATEWAY']);
  const ips = readAddresses(request, ipam);
  if (!versionAtLeast(request.cniVersion, '0.3.0')) {
    for (const family of [4, 6]) {
      if (ips.filter((ip) => familyOf(ip.address) === family).length < 2) continue;
      throw invalid(`CNI version ${request.cniVersion} does not support more than 1 address per family`);
    }
  }
  const dns = readDns(objectField(ipam, 'dns', 'ipam.dns'), 'ipam.dns');
  return { ips, routes: routesFromConfig(ipam), ...(dns === undefined ? {} : { dns }) };
}

/** IPAM that gives out what the configuration says, and keeps nothing. */
class StaticPlugin implements Plugin {
  readonly name = 'static';

  async add(request: PluginRequest): Promise<CniResult> {
    return read(request);
  }

  async del(): Promise<void> {
    // Nothing was set aside.
  }

  async check(request: PluginRequest): Promise<void> {
    const told = request.prevResult?.ips ?? [];
    for (const { address, gateway } of read(request).ips ?? []) {
      // Main plugins may give the interface another prefix length.
      const match = told.find((ip) => ip.address.split('/')[0] === address.split('/')[0]);
      if (match === undefined) throw differs(`static: prevResult lacks the address ${address}`);
      if (gateway !== undefined && match.gateway !== gateway) {
        throw differs(`static: prevResult gives ${address} the gateway ${match.gateway}, not ${gateway}`);
      }
    }
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
  }

  async gc(): Promise<void> {
    // It keeps nothing.
  }
}

export const staticIpam: MakePlugin = () => new StaticPlugin();
