import { isAbsolute, resolve } from 'node:path';
import { askDaemon, DHCP_SOCKET, type DhcpRequest } from '../dhcp/protocol.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { field, isObject, type JsonObject, stringField } from '../spec/json.ts';
import { parseResult } from '../spec/result.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { clientOptions } from '../dhcp/options.ts';
import { invalid } from './common/conf.ts';
import type { MakePlugin } from './registry.ts';

/** Longest a lease may take, milliseconds: shorter than runtimes wait for a plugin. */
const ALLOCATE_MS = 55_000;
const QUICK_MS = 5000;

function ipamOf(request: PluginRequest): JsonObject {
  const ipam = field(request.config, 'ipam');
  if (!isObject(ipam)) throw invalid('IPAM config missing `ipam` key');
  return ipam;
}

/** IPAM by DHCP: addresses from the server of the pod's own link. The leases are kept by a daemon. */
class DhcpPlugin implements Plugin {
  readonly name = 'dhcp';

  async add(request: PluginRequest): Promise<CniResult> {
    // What is wrong with the configuration is told without the daemon.
    clientOptions(ipamOf(request), request.args);
    return parseResult(await ask(request, 'allocate', ALLOCATE_MS));
  }

  async del(request: PluginRequest): Promise<void> {
    try {
      await ask(request, 'release', QUICK_MS);
    } catch (error) {
      // Without a daemon nobody holds the lease: it ends by itself, and the container must be able to go.
      if (!(error instanceof CniError) || error.cniCode !== CniCode.tryAgainLater) throw error;
    }
  }

  async check(request: PluginRequest): Promise<void> {
    const held = parseResult(await ask(request, 'check', QUICK_MS));
    const told = new Set((request.prevResult?.ips ?? []).map((ip) => ip.address));
    const missing = held.ips?.find((ip) => !told.has(ip.address));
    if (missing !== undefined) {
      throw new CniError(
        CniCode.checkFailed,
        `dhcp: the lease is for ${missing.address}, which prevResult does not have`,
      );
    }
  }

  async status(request: PluginRequest): Promise<void> {
    try {
      await ask(request, 'status', QUICK_MS);
    } catch (error) {
      if (!(error instanceof CniError)) throw error;
      throw new CniError(CniCode.unavailable, error.message, error.details, error);
    }
  }

  async gc(request: PluginRequest): Promise<void> {
    const { validAttachments } = request;
    if (validAttachments === undefined) return;
    await ask(request, 'gc', QUICK_MS, { valid: validAttachments.map((a) => `${a.containerId}/${a.ifname}`) });
  }
}

function ask(
  request: PluginRequest,
  method: DhcpRequest['method'],
  timeoutMs: number,
  more: Partial<DhcpRequest> = {},
): Promise<JsonObject> {
  const ipam = ipamOf(request);
  const { containerId, ifname, network, netns } = request;
  const path = stringField(ipam, 'daemonSocketPath', 'ipam.daemonSocketPath') || DHCP_SOCKET;
  return askDaemon(
    path,
    {
      method,
      containerId,
      ifname,
      network,
      netns: netns === '' || isAbsolute(netns) ? netns : resolve(netns),
      args: Object.fromEntries(request.args),
      ipam,
      ...more,
    },
    timeoutMs,
  );
}

export const dhcp: MakePlugin = () => new DhcpPlugin();
