import { parseInterfaceAddress, prefixesOverlap, prefixOf } from '@weft/net';
import { isKernelError, type Link, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { type BridgeConfig, planAddresses, readBridgeConfig } from './bridge-config.ts';
import { familyOf, invalid } from './common/conf.ts';
import { broadcastOf, checkInterface, configureInterface, differs } from './common/interface.ts';
import { ipamOf } from './common/ipam.ts';
import { Masquerade } from './common/masquerade.ts';
import { inSandbox, type Sandbox } from './common/sandbox.ts';
import { addPair, deletePair, hostVethName, type Pair } from './common/veth.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

async function bridgeOf(node: NodeNetwork, name: string): Promise<Link> {
  const link = await node.rtnl.links.get(name);
  if (link === undefined) throw new CniError(CniCode.tryAgainLater, `bridge ${name} was deleted by something else`);
  if (link.kind !== 'bridge') throw invalid(`bridge: ${name} exists, but is no bridge`);
  return link;
}

/** The bridge as the configuration wants it, made when there is none. */
async function ensureBridge(node: NodeNetwork, config: BridgeConfig): Promise<Link> {
  const { bridge: name, mtu } = config;
  try {
    await node.rtnl.links.add({ name, kind: 'bridge', up: true, ...(mtu === undefined ? {} : { mtu }) });
  } catch (error) {
    if (!isKernelError(error, 'EEXIST')) throw error;
  }
  const link = await bridgeOf(node, name);
  try {
    // Its routes are ours to make.
    writeSysctl(`net/ipv6/conf/${name}/accept_ra`, '0', node.ns);
  } catch {
    // A kernel without IPv6.
  }
  if (!link.up || config.promiscMode) {
    await node.rtnl.links.set(link.index, { up: true, ...(config.promiscMode ? { promisc: true } : {}) });
  }
  return link;
}

/** Gives the bridge a gateway address; another one of the same family or subnet is in the way. */
async function ensureAddress(node: NodeNetwork, bridge: Link, address: string, force: boolean): Promise<void> {
  const family = familyOf(address);
  const wanted = parseInterfaceAddress(address);
  if (wanted === undefined) throw invalid(`bridge: not an address with a prefix length: ${address}`);
  const present = await node.rtnl.addresses.list({ index: bridge.index, family });
  if (present.some((a) => a.address === address)) return;
  for (const other of present) {
    const parsed = parseInterfaceAddress(other.address);
    if (parsed === undefined) continue;
    const overlap = prefixesOverlap(prefixOf(parsed.ip, parsed.length), prefixOf(wanted.ip, wanted.length));
    if (family === 6 && !overlap) continue;
    if (!force)
      throw invalid(`bridge: "${bridge.name}" already has an IP address different from ${address}`, other.address);
    await node.rtnl.addresses.del({ index: bridge.index, address: other.address }, { missingOk: true });
  }
  const broadcast = broadcastOf(address);
  await node.rtnl.addresses.replace({
    index: bridge.index,
    address,
    ...(family === 6 ? { noDad: true } : {}),
    ...(broadcast === undefined ? {} : { broadcast }),
  });
  // A bridge without a fixed MAC address takes over that of a port, and pods lose their gateway for a moment.
  const { mac } = await bridgeOf(node, bridge.name);
  if (mac !== undefined) await node.rtnl.links.set(bridge.index, { mac });
}

/** A bridge of the node, and a pair per pod with one end in it. */
class BridgePlugin implements Plugin {
  readonly name = 'bridge';
  readonly #context: PluginContext;
  readonly #masquerade: Masquerade;

  constructor(context: PluginContext) {
    this.#context = context;
    this.#masquerade = new Masquerade(context.node.ns);
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node } = this.#context;
    const config = readBridgeConfig(request);
    const ipam = await ipamOf(this.#context, request);
    return inSandbox(node, request.netns, async (sandbox) => {
      const bridge = await ensureBridge(node, config);
      // The pair comes before the addresses: an interface that is taken must not cost any.
      const pair = await addPair(node, sandbox, request, {
        mtu: config.mtu,
        mac: config.mac,
        master: bridge.index,
      });
      let given: CniResult | undefined;
      try {
        await node.rtnl.links.set(pair.near.index, {
          hairpin: config.hairpinMode,
          ...(config.portIsolation ? { isolated: true } : {}),
        });
        if (ipam !== undefined) {
          given = await ipam.add();
          if ((given.ips ?? []).length === 0) throw invalid('IPAM plugin returned missing IP config');
        } else if (!config.disableContainerInterface) await sandbox.rtnl.links.set(pair.far.index, { up: true });
        return await this.#connect(request, config, sandbox, pair, bridge, given);
      } catch (error) {
        await this.#takeDown(request).catch(() => {});
        if (given !== undefined) await ipam?.del().catch(() => {});
        throw error;
      }
    });
  }

  async #connect(
    request: PluginRequest,
    config: BridgeConfig,
    sandbox: Sandbox,
    pair: Pair,
    bridge: Link,
    given: CniResult | undefined,
  ): Promise<CniResult> {
    const { node } = this.#context;
    const { ips, routes, gateways } = planAddresses(given ?? {}, config);
    if (given !== undefined) {
      const link = { index: pair.far.index, name: request.ifname };
      for (const gateway of gateways) {
        await ensureAddress(node, bridge, gateway, config.forceAddress);
        node.forward(familyOf(gateway));
      }
      await configureInterface(sandbox, link, { ips, routes }, { dad: config.enabledad });
      if (config.ipMasq) {
        await this.#masquerade.add(
          request.network,
          request,
          ips.map((ip) => ip.address),
        );
      }
    }
    // Its MAC address may have changed with its first port.
    const { mac } = await bridgeOf(node, config.bridge);
    const dns = config.dns ?? given?.dns;
    return {
      interfaces: [
        { name: config.bridge, mac: mac ?? '' },
        { name: pair.near.name, mac: pair.near.mac ?? '' },
        { name: request.ifname, mac: pair.far.mac ?? '', sandbox: request.netns },
      ],
      ips,
      routes,
      ...(dns === undefined ? {} : { dns }),
    };
  }

  async #takeDown(request: PluginRequest): Promise<void> {
    await deletePair(this.#context.node, request);
    await this.#masquerade.remove(request.network, request);
  }

  async del(request: PluginRequest): Promise<void> {
    // The address is free when the kernel has let go of it.
    await this.#takeDown(request);
    await (await ipamOf(this.#context, request))?.del();
  }

  async check(request: PluginRequest): Promise<void> {
    const config = readBridgeConfig(request);
    await (await ipamOf(this.#context, request))?.check();
    const { node } = this.#context;
    const result = request.prevResult ?? {};
    const bridge = await node.rtnl.links.get(config.bridge);
    if (bridge === undefined) throw differs(`bridge ${config.bridge} is missing`);
    if (bridge.kind !== 'bridge') throw differs(`bridge: ${config.bridge} is no bridge`);
    const told = result.interfaces?.filter((i) => (i.sandbox ?? '') === '' && i.name !== config.bridge) ?? [];
    const near = await node.rtnl.links.get(told[0]?.name ?? hostVethName(request));
    if (near === undefined) throw differs(`bridge: the node's end ${told[0]?.name} is missing`);
    if (near.master !== bridge.index) throw differs(`bridge: ${near.name} is no port of ${config.bridge}`);
    if ((near.port?.hairpin ?? false) !== config.hairpinMode) {
      throw differs(`bridge: hairpin mode of ${near.name} is not ${config.hairpinMode}`);
    }
    if (config.portIsolation && near.port?.isolated !== true) throw differs(`bridge: ${near.name} is not isolated`);
    if (!config.disableContainerInterface) {
      await inSandbox(node, request.netns, (sandbox) => checkInterface(sandbox, request.ifname, result));
    }
    const addresses = (result.ips ?? []).map((ip) => ip.address);
    const present = new Set((await node.rtnl.addresses.list({ index: bridge.index })).map((a) => a.address));
    const gateway = planAddresses(result, config).gateways.find((address) => !present.has(address));
    if (gateway !== undefined) throw differs(`bridge ${config.bridge} lacks the gateway address ${gateway}`);
    if (config.ipMasq && addresses.length > 0 && !(await this.#masquerade.has(request.network, request, addresses))) {
      throw differs(`bridge: ${addresses.join(', ')} is not masqueraded`);
    }
  }

  async status(request: PluginRequest): Promise<void> {
    readBridgeConfig(request);
    await (await ipamOf(this.#context, request))?.status();
  }

  async gc(request: PluginRequest): Promise<void> {
    if (request.validAttachments === undefined) return;
    await this.#masquerade.keepOnly(request.network, request.validAttachments);
    await (await ipamOf(this.#context, request))?.gc();
  }
}

export const bridge: MakePlugin = (context) => new BridgePlugin(context);
