import { formatIp } from '@weft/net';
import { type Allocation, type Ipam, parseWanted } from '../ipam/ipam.ts';
import { rangeSetsFromConfig } from '../ipam/range.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, objectField, stringField, stringsField } from '../spec/json.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { routesFromConfig } from './addressing.ts';
import { HostLocalAlone, ipamDns } from './host-local-alone.ts';
import { staleAllocations, statusOfRanges } from './weft.ts';

/**
 * IPAM for main plugins of all vendors: the configuration and the answers of the reference host-local plugin. The agent's
 * journal keeps the addresses, or where `dataDir` is given, the reference's own files.
 */
export class HostLocalPlugin implements Plugin {
  readonly name = 'host-local';
  readonly #ipam: Ipam;
  readonly #files = new HostLocalAlone();

  constructor(ipam: Ipam) {
    this.#ipam = ipam;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    if (hasFiles(request)) return this.#files.add(request);
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
    const dns = ipamDns(config);
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
    if (hasFiles(request)) return this.#files.del(request);
    const existing = this.#find(request);
    if (existing !== undefined) this.#ipam.release(existing);
  }

  async check(request: PluginRequest): Promise<void> {
    if (hasFiles(request)) return this.#files.check(request);
    if (this.#find(request) === undefined) {
      throw new CniError(CniCode.unknownContainer, `no address of container ${request.containerId} is known`);
    }
  }

  async status(request: PluginRequest): Promise<void> {
    if (hasFiles(request)) return this.#files.status(request);
    statusOfRanges(this.#ipam, request, ipamConfig(request));
  }

  async gc(request: PluginRequest): Promise<void> {
    if (hasFiles(request)) return this.#files.gc(request);
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

function hasFiles(request: PluginRequest): boolean {
  const ipam = objectField(request.config, 'ipam');
  return ipam !== undefined && Boolean(stringField(ipam, 'dataDir', 'ipam.dataDir'));
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
