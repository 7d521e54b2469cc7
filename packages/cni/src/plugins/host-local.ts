import { formatIp } from '@weft/net';
import { type Allocation, type Ipam, parseWanted } from '../ipam/ipam.ts';
import { rangeSetsFromConfig } from '../ipam/range.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, objectField, stringsField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { routesFromConfig } from './addressing.ts';
import { staleAllocations, statusOfRanges } from './weft.ts';

/** Our IPAM for other vendors' main plugins: the configuration and the answers of the reference host-local plugin. */
export class HostLocalPlugin implements Plugin {
  readonly name = 'host-local';
  readonly #ipam: Ipam;

  constructor(ipam: Ipam) {
    this.#ipam = ipam;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const config = ipamConfig(request);
    const existing = this.#find(request);
    // The main plugin failed after it had an address, and tries again.
    if (existing !== undefined) this.#ipam.release(existing);
    const wanted = stringsField({ ips: wantedIps(request) }, 'ips') ?? [];
    const { allocation, given } = this.#ipam.reserve(
      { network: request.network, containerId: request.containerId, ifname: request.ifname, kind: 'address' },
      rangeSetsFromConfig(config),
      parseWanted(wanted),
    );
    this.#ipam.ready(allocation);
    const dns = readDns(objectField(config, 'dns', 'ipam.dns'), 'ipam.dns');
    return {
      ips: given.map(({ address, range }) => ({
        address: `${address}/${range.prefix.length}`,
        gateway: formatIp(range.gateway),
      })),
      routes: routesFromConfig(config),
      ...(dns === undefined ? {} : { dns }),
    };
  }

  async del(request: PluginRequest): Promise<void> {
    const existing = this.#find(request);
    if (existing !== undefined) this.#ipam.release(existing);
  }

  async check(request: PluginRequest): Promise<void> {
    if (this.#find(request) === undefined) {
      throw new CniError(CniCode.unknownContainer, `no address of container ${request.containerId} is known`);
    }
  }

  async status(request: PluginRequest): Promise<void> {
    statusOfRanges(this.#ipam, request, ipamConfig(request));
  }

  async gc(request: PluginRequest): Promise<void> {
    if (request.validAttachments === undefined) return;
    for (const stale of staleAllocations(this.#ipam, 'address', request.network, request.validAttachments)) {
      this.#ipam.release(stale);
    }
  }

  #find(request: PluginRequest): Allocation | undefined {
    const found = this.#ipam.get(request.network, request);
    return found?.kind === 'address' ? found : undefined;
  }
}

function ipamConfig(request: PluginRequest): PluginRequest['config'] {
  const ipam = field(request.config, 'ipam');
  if (isObject(ipam)) return ipam;
  throw new CniError(CniCode.invalidConfig, 'IPAM config missing `ipam` key');
}

function wantedIps(request: PluginRequest): unknown {
  const runtime = objectField(request.config, 'runtimeConfig');
  const ips = runtime === undefined ? undefined : field(runtime, 'ips');
  if (ips !== undefined) return ips;
  const text = request.args.get('IP');
  return text === undefined || text === '' ? undefined : text.split(',');
}
