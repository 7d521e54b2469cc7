import { addressAt, formatIp, parseInterfaceAddress, prefixesOverlap, prefixOf } from '@weft/net';
import { isKernelError, type Link, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import { booleanField, objectField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniIp, CniResult, CniRoute, Plugin, PluginRequest } from '../spec/types.ts';
import { type BridgeConf, readBridgeConf } from './bridge-conf.ts';
import { familyOf, invalid } from './common/conf.ts';
import { broadcastOf, checkInterface, configureInterface, differs } from './common/interface.ts';
import { ipamOf, withAddresses } from './common/ipam.ts';
import { attachmentComment, staleComment } from './common/comment.ts';
import { type Masquerading, masqueradingOf } from './common/masquerade.ts';
import { inSandbox, type Sandbox } from './common/sandbox.ts';
import { SpoofCheck } from './common/spoof-check.ts';
import { addPair, deletePair, hostVethName, type Pair } from './common/veth.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

const ANYWHERE = { 4: '0.0.0.0/0', 6: '::/0' } as const;
const DEFAULT_VLAN = 1;

/** A port per sandbox on a bridge of the node, which may be their gateway. */
class BridgePlugin implements Plugin {
  readonly name = 'bridge';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  #masquerading({ config }: PluginRequest): Masquerading {
    return masqueradingOf(this.#context.node, config);
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node } = this.#context;
    const conf = readBridgeConf(request);
    const ipam = await ipamOf(this.#context, request);
    if (ipam === undefined && conf.isGateway) {
      throw invalid('a gateway needs addresses: ipam.type is missing beside isGateway');
    }
    const bridge = await this.#ensureBridge(conf);
    return inSandbox(node, request.netns, async (sandbox) => {
      const pair = await addPair(node, sandbox, request, { mtu: conf.mtu, mac: conf.mac, master: bridge.index });
      try {
        await this.#setUpPort(conf, bridge, pair);
        const spoof = attachmentComment(request.network, request);
        if (conf.macspoofchk)
          await SpoofCheck.use(node, (check) => check.add(spoof, pair.near.name, pair.far.mac ?? ''));
        if (ipam === undefined) {
          if (!conf.disableContainerInterface) await sandbox.rtnl.links.set(pair.far.index, { up: true });
          return this.#result(request, bridge, pair, [], [], undefined);
        }
        return await withAddresses(ipam, (given) => this.#withAddresses(request, conf, sandbox, bridge, pair, given));
      } catch (error) {
        await deletePair(node, request).catch(() => {});
        throw error;
      }
    });
  }

  async del(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    await (await ipamOf(this.#context, request))?.del();
    await deletePair(node, request);
    // Read one by one: what is wrong with the rest must not keep a pod from going.
    if (booleanField(request.config, 'ipMasq') === true)
      await this.#masquerading(request).remove(request.network, request);
    if (booleanField(request.config, 'macspoofchk') === true) {
      const own = attachmentComment(request.network, request);
      await SpoofCheck.use(node, (check) => check.remove((comment) => comment === own));
    }
  }

  async check(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    const conf = readBridgeConf(request);
    await (await ipamOf(this.#context, request))?.check();
    const prev = request.prevResult ?? {};
    const bridge = await node.rtnl.links.get(conf.bridge);
    if (bridge === undefined) throw differs(`bridge ${conf.bridge} is missing on the node`);
    if (bridge.kind !== 'bridge') throw differs(`${conf.bridge} is no bridge`);
    const told = prev.interfaces?.find((i) => i.name === conf.bridge && i.sandbox === undefined);
    if (told?.mac !== undefined && told.mac.toLowerCase() !== bridge.mac) {
      throw differs(`bridge ${conf.bridge} has MAC address ${bridge.mac}, not ${told.mac}`);
    }
    const name = hostVethName(request);
    const near = await node.rtnl.links.get(name);
    if (near === undefined) throw differs(`interface ${name} is missing on the node`);
    if (near.master !== bridge.index) throw differs(`interface ${name} is no port of ${conf.bridge}`);
    if ((near.port?.hairpin ?? false) !== conf.hairpinMode) {
      throw differs(`hairpin mode of ${name} is ${near.port?.hairpin ? 'on' : 'off'}`);
    }
    if (!conf.disableContainerInterface) {
      await inSandbox(node, request.netns, (sandbox) => checkInterface(sandbox, request.ifname, prev));
    }
    const addresses = (prev.ips ?? []).map((ip) => ip.address);
    if (conf.ipMasq && !(await this.#masquerading(request).has(request.network, request, addresses))) {
      throw differs(`${addresses.join(', ')}: not masqueraded`);
    }
  }

  async status(request: PluginRequest): Promise<void> {
    readBridgeConf(request);
    await (await ipamOf(this.#context, request))?.status();
  }

  async gc(request: PluginRequest): Promise<void> {
    await (await ipamOf(this.#context, request))?.gc();
    const stale = staleComment(request);
    if (stale === undefined || request.validAttachments === undefined) return;
    await this.#masquerading(request).keepOnly(request.network, request.validAttachments);
    await SpoofCheck.use(this.#context.node, (check) => check.remove(stale));
  }

  async #ensureBridge(conf: BridgeConf): Promise<Link> {
    const { rtnl, ns } = this.#context.node;
    const filtering = conf.vlan > 0 || conf.vlanTrunk.length > 0;
    let link = await rtnl.links.get(conf.bridge);
    if (link === undefined) {
      const mtu = conf.mtu === undefined ? {} : { mtu: conf.mtu };
      const bridge = filtering ? { bridge: { vlanFiltering: true } } : {};
      try {
        await rtnl.links.add({ name: conf.bridge, kind: 'bridge', ...mtu, ...bridge });
      } catch (error) {
        if (filtering && isKernelError(error, 'EOPNOTSUPP')) {
          throw invalid('vlan: this kernel cannot tell VLANs of a bridge', 'CONFIG_BRIDGE_VLAN_FILTERING is not set');
        }
        if (!isKernelError(error, 'EEXIST')) throw error;
      }
      link = await rtnl.links.get(conf.bridge);
      // A bridge without a fixed address takes over that of a port, and pods lose their gateway for a moment.
      if (link?.mac !== undefined) await rtnl.links.set(link.index, { mac: link.mac });
      ignoreRa(`net/ipv6/conf/${conf.bridge}/accept_ra`, ns);
    }
    if (link === undefined) throw new CniError(CniCode.tryAgainLater, `bridge ${conf.bridge} was deleted meanwhile`);
    if (link.kind !== 'bridge') throw invalid(`bridge: "${conf.bridge}" already exists but is not a bridge`);
    if (conf.promiscMode) await rtnl.links.set(link.index, { promisc: true });
    if (!link.up) await rtnl.links.set(link.index, { up: true });
    return link;
  }

  async #setUpPort(conf: BridgeConf, bridge: Link, { near }: Pair): Promise<void> {
    const { rtnl } = this.#context.node;
    if (conf.hairpinMode || conf.portIsolation) {
      await rtnl.links.set(near.index, {
        ...(conf.hairpinMode ? { hairpin: true } : {}),
        ...(conf.portIsolation ? { isolated: true } : {}),
      });
    }
    const { vlan, vlanTrunk } = conf;
    if (vlan === 0 && vlanTrunk.length === 0) return;
    await rtnl.batch((b) => {
      if (!conf.preserveDefaultVlan) b.bridgeVlans.del({ index: near.index, id: DEFAULT_VLAN });
      if (vlan > 0) {
        b.bridgeVlans.add({ index: near.index, id: vlan, pvid: true, untagged: true });
        // The gateway's address is on a port of the bridge itself.
        if (conf.isGateway) b.bridgeVlans.add({ index: bridge.index, id: vlan, self: true });
      }
      for (const { id, last } of vlanTrunk) b.bridgeVlans.add({ index: near.index, id, last });
      // What comes without a tag has to be in some VLAN: the reference's choice for a trunk alone.
      if (vlan === 0) b.bridgeVlans.add({ index: near.index, id: DEFAULT_VLAN, pvid: true, untagged: true });
    });
  }

  async #withAddresses(
    request: PluginRequest,
    conf: BridgeConf,
    sandbox: Sandbox,
    bridge: Link,
    pair: Pair,
    given: CniResult,
  ): Promise<CniResult> {
    const { node } = this.#context;
    const ips = (given.ips ?? []).map((ip): CniIp => {
      const gateway = ip.gateway ?? (conf.isGateway ? firstOf(ip.address) : undefined);
      return { ...ip, interface: 2, ...(gateway === undefined ? {} : { gateway }) };
    });
    const routes = [
      ...(given.routes ?? []),
      ...(conf.isDefaultGateway ? missingDefaults(ips, given.routes ?? []) : []),
    ];
    if (conf.isGateway) {
      const gateway = await this.#gatewayLink(conf, bridge);
      for (const ip of ips) await this.#ensureGateway(gateway, ip, conf.forceAddress);
      for (const family of new Set(ips.map((ip) => familyOf(ip.address)))) node.forward(family);
    }
    await configureInterface(sandbox, pair.far, { ips, routes }, { dad: conf.enabledad });
    const addresses = ips.map((ip) => ip.address);
    if (conf.ipMasq) await this.#masquerading(request).add(request.network, request, addresses);
    return this.#result(request, bridge, pair, ips, routes, given.dns);
  }

  /** Where the gateway's addresses are: on the bridge, or for a VLAN on a port of the bridge that is in it. */
  async #gatewayLink(conf: BridgeConf, bridge: Link): Promise<Link> {
    if (conf.vlan === 0) return bridge;
    const { rtnl } = this.#context.node;
    const name = `${conf.bridge}.${conf.vlan}`;
    if ((await rtnl.links.get(name)) === undefined) {
      await rtnl.links.add({ name, kind: 'vlan', up: true, vlan: { parent: bridge.index, id: conf.vlan } });
    }
    const link = await rtnl.links.get(name);
    if (link === undefined) throw new CniError(CniCode.tryAgainLater, `${name} was deleted meanwhile`);
    return link;
  }

  async #ensureGateway(link: Link, ip: CniIp, force: boolean): Promise<void> {
    const { rtnl } = this.#context.node;
    const parsed = parseInterfaceAddress(ip.address);
    if (ip.gateway === undefined || parsed === undefined) return;
    const wanted = `${ip.gateway}/${parsed.length}`;
    const prefix = prefixOf(parsed.ip, parsed.length);
    for (const { address, family } of await rtnl.addresses.list({ index: link.index })) {
      if (family !== parsed.ip.family) continue;
      if (address === wanted) return;
      const other = parseInterfaceAddress(address);
      // Several IPv6 addresses are usual, as long as they are in other subnets.
      const apart = other !== undefined && !prefixesOverlap(prefixOf(other.ip, other.length), prefix);
      if (family === 6 && apart) continue;
      if (!force) throw invalid(`"${link.name}" already has an IP address different from ${wanted}`);
      await rtnl.addresses.del({ index: link.index, address }, { missingOk: true });
    }
    const broadcast = broadcastOf(wanted);
    await rtnl.addresses.replace({
      index: link.index,
      address: wanted,
      noDad: true,
      ...(broadcast === undefined ? {} : { broadcast }),
    });
  }

  #result(
    request: PluginRequest,
    bridge: Link,
    { near, far }: Pair,
    ips: readonly CniIp[],
    routes: readonly CniRoute[],
    fromIpam: CniResult['dns'],
  ): CniResult {
    const dns = readDns(objectField(request.config, 'dns'), 'dns') ?? fromIpam;
    const mac = (link: Link): { mac?: string } => (link.mac === undefined ? {} : { mac: link.mac });
    return {
      interfaces: [
        { name: bridge.name, ...mac(bridge) },
        { name: near.name, ...mac(near) },
        { name: request.ifname, ...mac(far), sandbox: request.netns },
      ],
      ips,
      routes,
      ...(dns === undefined ? {} : { dns }),
    };
  }
}

function ignoreRa(key: string, ns: PluginContext['node']['ns']): void {
  try {
    writeSysctl(key, '0', ns);
  } catch (error) {
    // A kernel without IPv6 takes no advertisements.
    if (!isKernelError(error, 'ENOENT')) throw error;
  }
}

function firstOf(address: string): string | undefined {
  const parsed = parseInterfaceAddress(address);
  return parsed === undefined ? undefined : formatIp(addressAt(prefixOf(parsed.ip, parsed.length), 1));
}

/** A default route by the gateway for every family that has none. */
function missingDefaults(ips: readonly CniIp[], routes: readonly CniRoute[]): CniRoute[] {
  return ([4, 6] as const).flatMap((family): CniRoute[] => {
    const ip = ips.find(({ address, gateway }) => gateway !== undefined && familyOf(address) === family);
    if (ip?.gateway === undefined || routes.some(({ dst }) => dst === ANYWHERE[family])) return [];
    return [{ dst: ANYWHERE[family], gw: ip.gateway }];
  });
}

export const bridge: MakePlugin = (context) => new BridgePlugin(context);
