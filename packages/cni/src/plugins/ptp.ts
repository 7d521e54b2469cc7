import { formatIp, formatPrefix, parseInterfaceAddress, prefixOf } from '@weft/net';
import { isKernelError } from '@weft/kernel';
import { booleanField, objectField, stringField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniIp, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import { familyOf, invalid, mtuField } from './common/conf.ts';
import { addRoutes, checkInterface, configureInterface, differs } from './common/interface.ts';
import { ipamOf, withAddresses } from './common/ipam.ts';
import { attachmentComment, Masquerade } from './common/masquerade.ts';
import { inSandbox, type Sandbox } from './common/sandbox.ts';
import { addPair, deletePair, hostVethName } from './common/veth.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

const bits = (family: 4 | 6): number => (family === 4 ? 32 : 128);

function hostOf(address: string): string {
  const parsed = parseInterfaceAddress(address);
  return parsed === undefined ? address : formatIp(parsed.ip);
}

/** A veth pair between the node and the sandbox, routed: no bridge, the gateway's address is on the node's end. */
class PtpPlugin implements Plugin {
  readonly name = 'ptp';
  readonly #context: PluginContext;

  constructor(context: PluginContext) {
    this.#context = context;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node } = this.#context;
    const mtu = mtuField(request.config);
    const ipMasq = booleanField(request.config, 'ipMasq') === true;
    checkBackend(request);
    const ipam = await ipamOf(this.#context, request);
    if (ipam === undefined) throw invalid('ptp requires an IPAM configuration: ipam.type is missing');
    return inSandbox(node, request.netns, async (sandbox) => {
      return withAddresses(ipam, async (given) => {
        const ips = (given.ips ?? []).map((ip) => ({ ...ip, interface: 1 }));
        for (const family of new Set(ips.map((ip) => familyOf(ip.address)))) node.forward(family);
        const { near, far } = await addPair(node, sandbox, request, { mtu });
        try {
          await this.#configure(sandbox, near.index, far, ips, given);
          if (ipMasq) await Masquerade.use(node, (masq) => masq.add(attachmentComment(request), ips));
        } catch (error) {
          await deletePair(node, request).catch(() => {});
          throw error;
        }
        const dns = readDns(objectField(request.config, 'dns'), 'dns') ?? given.dns;
        return {
          interfaces: [
            { name: near.name, ...(near.mac ? { mac: near.mac } : {}) },
            { name: request.ifname, ...(far.mac ? { mac: far.mac } : {}), sandbox: request.netns },
          ],
          ips,
          routes: given.routes ?? [],
          ...(dns === undefined ? {} : { dns }),
        };
      });
    });
  }

  async del(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    await (await ipamOf(this.#context, request))?.del();
    await deletePair(node, request);
    if (booleanField(request.config, 'ipMasq') === true) {
      await Masquerade.use(node, (masq) => masq.remove((comment) => comment === attachmentComment(request)));
    }
  }

  async check(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    await (await ipamOf(this.#context, request))?.check();
    await inSandbox(node, request.netns, async (sandbox) => {
      await checkInterface(sandbox, request.ifname, request.prevResult ?? {});
    });
    const name = hostVethName(request);
    const near = await node.rtnl.links.get(name);
    if (near === undefined) throw differs(`interface ${name} is missing on the node`);
    const routes = await node.rtnl.routes.list();
    for (const { address } of request.prevResult?.ips ?? []) {
      const host = hostOf(address);
      const dst = `${host}/${bits(familyOf(host))}`;
      if (!routes.some((r) => r.dst === dst && r.oif === near.index)) throw differs(`the node has no route to ${host}`);
    }
    if (booleanField(request.config, 'ipMasq') === true) {
      await Masquerade.use(node, (masq) => masq.check(attachmentComment(request), request.prevResult?.ips ?? []));
    }
  }

  async status(request: PluginRequest): Promise<void> {
    await (await ipamOf(this.#context, request))?.status();
  }

  async gc(request: PluginRequest): Promise<void> {
    await (await ipamOf(this.#context, request))?.gc();
    await Masquerade.keepOnly(this.#context.node, request);
  }

  async #configure(
    sandbox: Sandbox,
    near: number,
    far: { readonly index: number; readonly name: string },
    ips: readonly CniIp[],
    given: CniResult,
  ): Promise<void> {
    const { node } = this.#context;
    // Neighbours of the subnet are behind the node, not on the link: the subnet's route goes by the gateway.
    await configureInterface(sandbox, far, { ips, routes: [] }, { noPrefixRoute: true });
    for (const { address, gateway } of ips) {
      const parsed = parseInterfaceAddress(address);
      if (gateway === undefined || parsed === undefined) continue;
      const family = parsed.ip.family;
      await sandbox.rtnl.batch((b) => {
        b.routes.add({ dst: `${gateway}/${bits(family)}`, oif: far.index, scope: 'link', src: hostOf(address) });
        b.routes.add({ dst: subnetOf(address), oif: far.index, via: gateway, src: hostOf(address) });
      });
    }
    await node.rtnl.batch((b) => {
      for (const { address, gateway } of ips) {
        const family = familyOf(address);
        if (gateway !== undefined) {
          b.addresses.replace({ index: near, address: `${gateway}/${bits(family)}`, noDad: true, noPrefixRoute: true });
        }
      }
    });
    for (const { address } of ips) {
      const host = hostOf(address);
      try {
        await node.rtnl.routes.add({ dst: `${host}/${bits(familyOf(host))}`, oif: near, scope: 'link' });
      } catch (error) {
        if (!isKernelError(error, 'EEXIST')) throw error;
      }
    }
    await addRoutes(sandbox, far.index, { ips, routes: given.routes ?? [] });
  }
}

function subnetOf(address: string): string {
  const parsed = parseInterfaceAddress(address);
  if (parsed === undefined) return address;
  return formatPrefix(prefixOf(parsed.ip, parsed.length));
}

/** `ipMasqBackend`: both values mean rules of ours in nftables, which need no program. */
export function checkBackend(request: PluginRequest): void {
  const backend = stringField(request.config, 'ipMasqBackend') || 'nftables';
  if (backend !== 'nftables' && backend !== 'iptables') {
    throw invalid(`ipMasqBackend: "${backend}" is neither nftables nor iptables`);
  }
}

export const ptp: MakePlugin = (context) => new PtpPlugin(context);
