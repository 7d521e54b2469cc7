import { formatPrefix, parseInterfaceAddress, prefixOf } from '@weft/net';
import { objectField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniDns, CniIp, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { familyOf, invalid, mtuField } from './common/conf.ts';
import { checkInterface, configureInterface, differs, enableIpv6 } from './common/interface.ts';
import { type IpamDelegate, ipamOf, withAddresses } from './common/ipam.ts';
import { type Masquerading, masqueradingOf, readIpMasq } from './common/masquerade.ts';
import { inSandbox, type Sandbox } from './common/sandbox.ts';
import { addPair, deletePair, hostVethName } from './common/veth.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

interface PtpConfig {
  readonly mtu: number | undefined;
  readonly ipMasq: boolean;
  readonly dns: CniDns | undefined;
}

function read(request: PluginRequest): PtpConfig {
  const { config } = request;
  return {
    mtu: mtuField(config),
    ipMasq: readIpMasq(config),
    dns: readDns(objectField(config, 'dns'), 'dns'),
  };
}

function wholeLength(address: string): 32 | 128 {
  return familyOf(address) === 4 ? 32 : 128;
}

function bare(address: string): string {
  return address.split('/')[0] as string;
}

/** A pair without a bridge: the pod sends everything to its gateway's address, which the node's end has. */
class PtpPlugin implements Plugin {
  readonly name = 'ptp';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  #masquerading({ config }: PluginRequest): Masquerading {
    return masqueradingOf(this.#context.node, config);
  }

  async #ipam(request: PluginRequest): Promise<IpamDelegate> {
    const ipam = await ipamOf(this.#context, request);
    if (ipam === undefined) throw invalid('ptp: ipam.type is missing: where do pod addresses come from?');
    return ipam;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const config = read(request);
    const ipam = await this.#ipam(request);
    return inSandbox(this.#context.node, request.netns, (sandbox) =>
      withAddresses(ipam, async (given) => {
        try {
          return await this.#connect(request, config, sandbox, given);
        } catch (error) {
          await this.#takeDown(request).catch(() => {});
          throw error;
        }
      }),
    );
  }

  async #connect(
    request: PluginRequest,
    { mtu, ipMasq, dns }: PtpConfig,
    sandbox: Sandbox,
    given: CniResult,
  ): Promise<CniResult> {
    const { node } = this.#context;
    const ips = (given.ips ?? []).map((ip): CniIp => ({ ...ip, interface: 1 }));
    for (const { address, gateway } of ips) {
      if (gateway === undefined) throw invalid(`ptp: the IPAM plugin gave ${address} no gateway`);
      node.forward(familyOf(address));
    }
    const { near, far } = await addPair(node, sandbox, request, { mtu });
    // The subnet is behind the gateway as well: nobody in it can be asked for by ARP.
    const link = { index: far.index, name: request.ifname };
    await configureInterface(sandbox, link, { ips, routes: [] }, { noPrefixRoute: true });
    await sandbox.rtnl.batch((b) => {
      for (const { address, gateway = '' } of ips) {
        const parsed = parseInterfaceAddress(address);
        if (parsed === undefined) continue;
        const own = { oif: far.index, src: bare(address) };
        b.routes.add({ ...own, dst: `${gateway}/${wholeLength(gateway)}`, scope: 'link' });
        b.routes.add({ ...own, dst: formatPrefix(prefixOf(parsed.ip, parsed.length)), via: gateway });
      }
    });
    await configureInterface(sandbox, link, { ips: [], routes: withGateways(given, ips) });
    if (ips.some(({ address }) => familyOf(address) === 6) && node.ns !== undefined) enableIpv6(node.ns, [near.name]);
    await node.rtnl.batch((b) => {
      for (const { address, gateway = '' } of ips) {
        b.addresses.add({ index: near.index, address: `${gateway}/${wholeLength(gateway)}`, noDad: true });
        const dst = `${bare(address)}/${wholeLength(address)}`;
        b.routes.replace({ oif: near.index, dst, ...(familyOf(address) === 4 ? { scope: 'host' } : {}) });
      }
    });
    if (ipMasq) {
      await this.#masquerading(request).add(
        request.network,
        request,
        ips.map((ip) => ip.address),
      );
    }
    const answeredDns = dns ?? given.dns;
    return {
      interfaces: [
        { name: near.name, mac: near.mac ?? '' },
        { name: request.ifname, mac: far.mac ?? '', sandbox: request.netns },
      ],
      ips,
      ...(given.routes === undefined ? {} : { routes: given.routes }),
      ...(answeredDns === undefined ? {} : { dns: answeredDns }),
    };
  }

  async #takeDown(request: PluginRequest): Promise<void> {
    await deletePair(this.#context.node, request);
    await this.#masquerading(request).remove(request.network, request);
  }

  async del(request: PluginRequest): Promise<void> {
    // The address is free when the kernel has let go of it.
    await this.#takeDown(request);
    await (await this.#ipam(request)).del();
  }

  async check(request: PluginRequest): Promise<void> {
    const { ipMasq } = read(request);
    await (await this.#ipam(request)).check();
    const result = request.prevResult ?? {};
    const { node } = this.#context;
    await inSandbox(node, request.netns, (sandbox) => checkInterface(sandbox, request.ifname, result));
    const near = result.interfaces?.find((i) => (i.sandbox ?? '') === '')?.name ?? hostVethName(request);
    const link = await node.rtnl.links.get(near);
    if (link === undefined) throw differs(`ptp: the node's end ${near} is missing`);
    if (!link.up) throw differs(`ptp: the node's end ${near} is down`);
    const routes = await node.rtnl.routes.list({ oif: link.index });
    for (const { address } of result.ips ?? []) {
      if (!routes.some(({ dst }) => bare(dst) === bare(address))) {
        throw differs(`ptp: the node has no route to ${bare(address)} by ${near}`);
      }
    }
    const addresses = (result.ips ?? []).map((ip) => ip.address);
    if (ipMasq && !(await this.#masquerading(request).has(request.network, request, addresses))) {
      throw differs(`ptp: ${addresses.join(', ')} is not masqueraded`);
    }
  }

  async status(request: PluginRequest): Promise<void> {
    read(request);
    await (await this.#ipam(request)).status();
  }

  async gc(request: PluginRequest): Promise<void> {
    if (request.validAttachments === undefined) return;
    await this.#masquerading(request).keepOnly(request.network, request.validAttachments);
    await (await this.#ipam(request)).gc();
  }
}

/** Routes with the gateway that they go by when they name none. */
function withGateways(given: CniResult, ips: readonly CniIp[]): NonNullable<CniResult['routes']> {
  return (given.routes ?? []).map((route) => {
    const gw = route.gw ?? ips.find((ip) => familyOf(ip.address) === familyOf(route.dst))?.gateway;
    return gw === undefined ? route : { ...route, gw };
  });
}

export const ptp: MakePlugin = (context) => new PtpPlugin(context);
