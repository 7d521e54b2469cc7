import { formatIp, parseIp } from '@weft/net';
import { rangeSetsFromConfig } from '../ipam/range.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, objectField, stringField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniDns, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { routesFromConfig } from './addressing.ts';
import { invalid, wantedIps } from './common/conf.ts';
import { HOST_LOCAL_DIR, HostLocalFiles } from './host-local-files.ts';
import type { MakePlugin } from './registry.ts';
import { readResolvConf } from './resolv-conf.ts';

function ipamOf(request: PluginRequest): JsonObject {
  const ipam = field(request.config, 'ipam');
  if (isObject(ipam)) return ipam;
  throw invalid('IPAM config missing `ipam` key');
}

/** The reference host-local plugin: its configuration, its answers, its files. */
export class HostLocalAlone implements Plugin {
  readonly name = 'host-local';

  async add(request: PluginRequest): Promise<CniResult> {
    const ipam = ipamOf(request);
    const sets = rangeSetsFromConfig(ipam);
    const wanted = wantedIps(request).map((text) => {
      const ip = parseIp(text.split('/')[0] as string);
      if (ip === undefined) throw invalid(`ips: not an IP address: ${text}`);
      return ip;
    });
    const dns = ipamDns(ipam);
    const given = await this.#files(request, ipam, (files) => files.reserve(request, sets, wanted));
    return {
      ips: given.map(({ address, range }) => ({
        address: `${formatIp(address)}/${range.prefix.length}`,
        gateway: formatIp(range.gateway),
      })),
      routes: routesFromConfig(ipam),
      ...(dns === undefined ? {} : { dns }),
    };
  }

  async del(request: PluginRequest): Promise<void> {
    await this.#files(request, ipamOf(request), (files) => files.release(request));
  }

  async check(request: PluginRequest): Promise<void> {
    const found = await this.#files(request, ipamOf(request), (files) => files.of(request));
    if (found.length === 0) {
      throw new CniError(
        CniCode.checkFailed,
        `host-local: Failed to find address added by container ${request.containerId}`,
      );
    }
  }

  async status(request: PluginRequest): Promise<void> {
    const ipam = ipamOf(request);
    const sets = rangeSetsFromConfig(ipam);
    const full = await this.#files(request, ipam, (files) => sets.some((set) => files.exhausted(set)));
    if (full) throw new CniError(CniCode.unavailable, `network ${request.network}: no IP addresses available`);
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments } = request;
    if (validAttachments === undefined) return;
    await this.#files(request, ipamOf(request), (files) => files.keepOnly(validAttachments));
  }

  #files<T>(request: PluginRequest, ipam: JsonObject, work: (files: HostLocalFiles) => T): Promise<T> {
    const dataDir = stringField(ipam, 'dataDir', 'ipam.dataDir') || HOST_LOCAL_DIR;
    return HostLocalFiles.locked(dataDir, request.network, work);
  }
}

/** DNS of an `ipam` object: of the file that `resolvConf` names, else its own. */
export function ipamDns(ipam: JsonObject): CniDns | undefined {
  const file = stringField(ipam, 'resolvConf', 'ipam.resolvConf');
  return file ? readResolvConf(file) : readDns(objectField(ipam, 'dns', 'ipam.dns'), 'ipam.dns');
}

export const hostLocal: MakePlugin = () => new HostLocalAlone();
