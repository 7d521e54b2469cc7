import type { Logger } from '@weft/plan';
import { type Allocation, attachmentKey, type Ipam } from '../ipam/ipam.ts';
import { rangeSetsFromConfig } from '../ipam/range.ts';
import { checkKnownArgs } from '../spec/environment.ts';
import { CniCode, CniError } from '../spec/errors.ts';
import { stringField } from '../spec/json.ts';
import type { Attachment, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { bridge } from '../wiring/bridge.ts';
import type { AddressAuthority } from '../pools/authority.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { ptp } from '../wiring/ptp.ts';
import type { Wiring } from '../wiring/wiring.ts';
import { bridgeable, delegateIpam, isOwnIpam, POOLS_TYPE, rangesOrNone, reserveAddresses } from './addressing.ts';
import { hostLinkName, podMac, readWeftConfig, type WeftConfig } from './config.ts';

export interface WeftPluginDeps {
  readonly node: NodeNetwork;
  readonly ipam: Ipam;
  readonly log: Logger;
  /** Chooses addresses for networks of IPAM type `weft`. */
  readonly authority?: AddressAuthority;
}

/** Longest text an interface alias holds (IFALIASZ - 1). */
const ALIAS_BYTES = 255;

/** Addresses of pools are in no subnet that a bridge could be the gateway of: their pods are connected point to point. */
function wiringOf({ mode, bridge: name, ipam }: WeftConfig, addresses: readonly string[]): Wiring {
  return mode === 'bridge' && bridgeable(ipam, addresses) ? bridge(name) : ptp;
}

/** The main plugin: a veth pair between pod and node, addresses by our own IPAM or another plugin's. */
export class WeftPlugin implements Plugin {
  readonly name = 'weft';
  readonly #deps: WeftPluginDeps;

  constructor(deps: WeftPluginDeps) {
    this.#deps = deps;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node, ipam } = this.#deps;
    const config = readWeftConfig(request);
    checkKnownArgs(request.args, ['IP', 'MAC', 'GATEWAY']);
    const sandbox = node.openSandbox(request.netns);
    try {
      await this.#clear(request, sandbox.inode.toString());
      const link = hostLinkName(request);
      const { allocation, addresses, routes, dns, mac } = await reserveAddresses(
        ipam,
        request,
        config.ipam,
        {
          kind: 'wired',
          link,
          sandbox: sandbox.inode.toString(),
          wanted: config.ips,
          bridged: config.mode === 'bridge',
        },
        this.#deps.authority,
      );
      try {
        const ips = addresses.map((a) => a.ip);
        const result = await wiringOf(config, ips).connect(node, {
          link,
          alias: aliasOf(allocation, ips),
          ifname: request.ifname,
          mac: config.mac ?? mac ?? podMac(request),
          mtu: config.mtu,
          sandbox,
          sandboxPath: request.netns,
          addresses,
          routes,
        });
        ipam.ready(allocation);
        const answeredDns = config.dns ?? dns;
        return answeredDns === undefined ? result : { ...result, dns: answeredDns };
      } catch (error) {
        await this.#undo(request, config, allocation, error);
        throw error;
      }
    } finally {
      sandbox.close();
    }
  }

  async del(request: PluginRequest): Promise<void> {
    const { ipam } = this.#deps;
    const allocation = ipam.get(request.network, request);
    const config = tolerant(() => readWeftConfig(request));
    if (allocation === undefined) {
      // No record, so nothing of ours; but the pair may be there if the state directory was lost.
      const link = await this.#ownLink(request);
      if (link !== undefined) void this.#deps.node.reaper.remove(link).catch(() => {});
    } else void this.takeDown(allocation);
    if (config !== undefined && !isOwnIpam(config.ipam)) await delegateIpam(request, config.ipam);
  }

  async check(request: PluginRequest): Promise<void> {
    const { node, ipam } = this.#deps;
    const config = readWeftConfig(request);
    const allocation = ipam.get(request.network, request);
    if (allocation?.state !== 'ready') {
      throw new CniError(CniCode.unknownContainer, `${attachmentKey(request.network, request)} is not attached`);
    }
    const result = request.prevResult ?? {};
    const told = (result.ips ?? []).map((ip) => ip.address.split('/')[0]);
    const addresses = isOwnIpam(config.ipam) ? allocation.addresses : (told as string[]);
    const untold = addresses.find((address) => !told.includes(address));
    if (untold !== undefined) throw new CniError(CniCode.checkFailed, `prevResult lacks the address ${untold}`);
    const sandbox = node.openSandbox(request.netns);
    try {
      const { ifname } = request;
      await wiringOf(config, addresses).check(node, {
        link: allocation.link ?? '',
        ifname,
        sandbox,
        result,
        addresses,
      });
    } finally {
      sandbox.close();
    }
    if (!isOwnIpam(config.ipam)) await delegateIpam(request, config.ipam);
  }

  async status(request: PluginRequest): Promise<void> {
    const config = readWeftConfig(request);
    if (!isOwnIpam(config.ipam)) {
      await delegateIpam(request, config.ipam);
      return;
    }
    const { authority, ipam } = this.#deps;
    if (authority === undefined || stringField(config.ipam, 'type', 'ipam.type') !== POOLS_TYPE) {
      statusOfRanges(ipam, request, config.ipam);
      return;
    }
    const problem = authority.problem(rangesOrNone(config.ipam));
    if (problem !== undefined) throw new CniError(CniCode.unavailable, `network ${request.network}: ${problem}`);
  }

  async gc(request: PluginRequest): Promise<void> {
    const config = readWeftConfig(request);
    if (request.validAttachments !== undefined) {
      const stale = staleAllocations(this.#deps.ipam, 'wired', request.network, request.validAttachments);
      await Promise.all(stale.map((allocation) => this.takeDown(allocation)));
    }
    if (!isOwnIpam(config.ipam)) await delegateIpam(request, config.ipam);
  }

  /**
   * Takes an attachment down: the address stays set aside until the kernel has let go of the pair. The promise is for
   * those who want to wait; the journal finishes the job after a crash.
   */
  takeDown(allocation: Allocation): Promise<void> {
    const { ipam, node, log } = this.#deps;
    try {
      if (allocation.state !== 'removing') ipam.removing(allocation);
    } catch (error) {
      // A full disk must not keep pods from going.
      log.warn('cannot journal a removal', { error });
    }
    const gone = allocation.link === undefined ? Promise.resolve() : node.reaper.remove(allocation.link);
    return gone.then(
      () => ipam.release(allocation),
      () => {
        // The reaper has logged it; the record keeps the address until a later DEL or reconciliation.
      },
    );
  }

  /** Makes way for an ADD: refuses when the attachment is alive, takes remains of an earlier one down. */
  async #clear(request: PluginRequest, sandbox: string): Promise<void> {
    const { ipam, node } = this.#deps;
    const existing = ipam.get(request.network, request);
    if (existing === undefined) return;
    if (existing.state === 'ready' && existing.sandbox === sandbox && existing.link !== undefined) {
      if ((await node.rtnl.links.get(existing.link)) !== undefined) {
        throw new CniError(
          CniCode.interfaceExists,
          `container ${request.containerId} has ${request.ifname} already, with ${existing.addresses.join(', ')}`,
          'call DEL before another ADD',
        );
      }
    }
    await this.takeDown(existing);
  }

  async #undo(request: PluginRequest, config: WeftConfig, allocation: Allocation, cause: unknown): Promise<void> {
    const { node, ipam, log } = this.#deps;
    try {
      if (allocation.link !== undefined) await node.reaper.remove(allocation.link);
      ipam.release(allocation);
      if (!isOwnIpam(config.ipam)) {
        const env = new Map(request.raw.env).set('CNI_COMMAND', 'DEL');
        await delegateIpam({ ...request, raw: { ...request.raw, env } }, config.ipam);
      }
    } catch (error) {
      log.warn('cannot undo a failed ADD', { container: request.containerId, cause, error });
    }
  }

  /** The node's end of a pair, if it exists and its alias names this attachment. */
  async #ownLink(request: PluginRequest): Promise<string | undefined> {
    const link = await this.#deps.node.rtnl.links.get(hostLinkName(request));
    const owner = link?.alias === undefined ? undefined : parseAlias(link.alias);
    return owner !== undefined && attachmentKey(owner.network, owner) === attachmentKey(request.network, request)
      ? link?.name
      : undefined;
  }
}

function tolerant<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** Allocations of a network that a runtime's list of valid attachments does not name. */
function staleAllocations(
  ipam: Ipam,
  kind: Allocation['kind'],
  network: string,
  valid: readonly Attachment[],
): readonly Allocation[] {
  const keep = new Set(valid.map((attachment) => attachmentKey(network, attachment)));
  return ipam.list().filter((a) => a.kind === kind && a.network === network && !keep.has(attachmentKey(a.network, a)));
}

/** STATUS of a pool: code 50 when the next ADD would fail for want of an address. */
function statusOfRanges(ipam: Ipam, request: PluginRequest, config: PluginRequest['config']): void {
  for (const set of rangeSetsFromConfig(config)) {
    if (!ipam.exhausted(set)) continue;
    const { used, total, range } = ipam.usage(set);
    throw new CniError(
      CniCode.unavailable,
      `network ${request.network}: no IP addresses available in ${range}: ${used} of ${total} are in use`,
    );
  }
}

/** The alias of a node's end: whose it is, and its addresses. Empty when it would not fit. */
export function aliasOf(allocation: Allocation, addresses: readonly string[]): string {
  const alias = `weft ${attachmentKey(allocation.network, allocation)} ${addresses.join(',')}`;
  return Buffer.byteLength(alias) <= ALIAS_BYTES ? alias : '';
}

/** Reads an alias back. */
export function parseAlias(
  alias: string,
): (Attachment & { readonly network: string; readonly addresses: readonly string[] }) | undefined {
  const match = /^weft ([^/ ]+)\/([^/ ]+)\/([^/ ]+) (\S*)$/.exec(alias);
  if (match === null) return undefined;
  const [, network = '', containerId = '', ifname = '', addresses = ''] = match;
  return { network, containerId, ifname, addresses: addresses === '' ? [] : addresses.split(',') };
}
