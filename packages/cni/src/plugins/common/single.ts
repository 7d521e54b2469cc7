import { createHash } from 'node:crypto';
import { isKernelError, type Link, type LinkSpec, type Rtnl, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import { objectField } from '../../spec/json.ts';
import { readDns } from '../../spec/result.ts';
import type { CniResult, Plugin, PluginRequest } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import type { MakePlugin, PluginContext } from '../registry.ts';
import { invalid } from './conf.ts';
import { checkInterface, configureInterface, differs } from './interface.ts';
import { ipamOf, withAddresses } from './ipam.ts';
import { inSandbox, inSandboxIfThere, type Sandbox } from './sandbox.ts';

/** What tells plugins that make one interface in the sandbox from each other. */
export interface SingleInterface {
  readonly name: string;
  /** Kind of the link (`macvlan`, …); DEL deletes no other. */
  readonly kind: string;
  /** `required`: a configuration without `ipam` is refused; `optional`: then the interface is only brought up. */
  readonly ipam: 'required' | 'optional';
  /** Result so far whose addresses serve when there is no `ipam`. */
  chained?(request: PluginRequest): CniResult | undefined;
  /** Whether DNS of the answer is that of the IPAM plugin, not that of the configuration. */
  readonly ipamDns?: boolean;
  /** Tells neighbours by itself when the interface gets an address. */
  readonly notify?: readonly ('arp' | 'ndisc')[];
  /** Makes the interface under its final name; what fails leaves nothing behind. */
  create(node: NodeNetwork, sandbox: Sandbox, request: PluginRequest): Promise<void>;
  /** CHECK: what is true of this kind besides MAC, addresses and routes. Throws what is not. */
  check?(node: NodeNetwork, sandbox: Sandbox, request: PluginRequest, link: Link): Promise<void> | void;
  /** STATUS: throws why ADD could not be served. */
  status?(node: NodeNetwork, request: PluginRequest): Promise<void>;
}

const NOTIFY = { arp: 'net/ipv4/conf/NAME/arp_notify', ndisc: 'net/ipv6/conf/NAME/ndisc_notify' } as const;

/** A plugin of the reference's shape: make a link in the sandbox, ask IPAM, put the addresses on. */
export function singleInterface(shape: SingleInterface): MakePlugin {
  return (context) => new SingleInterfacePlugin(shape, context);
}

class SingleInterfacePlugin implements Plugin {
  readonly name: string;
  readonly #shape: SingleInterface;
  readonly #context: PluginContext;

  constructor(shape: SingleInterface, context: PluginContext) {
    this.name = shape.name;
    this.#shape = shape;
    this.#context = context;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node } = this.#context;
    const ipam = await this.#ipam(request);
    return inSandbox(node, request.netns, async (sandbox) => {
      await refuseTaken(sandbox, request.ifname);
      await this.#shape.create(node, sandbox, request);
      try {
        if (ipam !== undefined) return await withAddresses(ipam, (given) => this.#finish(sandbox, request, given));
        return await this.#finish(sandbox, request, this.#shape.chained?.(request));
      } catch (error) {
        await sandbox.rtnl.links.del(request.ifname, { missingOk: true }).catch(() => {});
        throw error;
      }
    });
  }

  async del(request: PluginRequest): Promise<void> {
    await (await ipamOf(this.#context, request))?.del();
    await inSandboxIfThere(this.#context.node, request.netns, async ({ rtnl }) => {
      const link = await rtnl.links.get(request.ifname);
      if (link?.kind === this.#shape.kind) await rtnl.links.del(link.index, { missingOk: true });
    });
  }

  async check(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    await (await this.#ipam(request))?.check();
    await inSandbox(node, request.netns, async (sandbox) => {
      const link = await checkInterface(sandbox, request.ifname, request.prevResult ?? {});
      if (link.kind !== this.#shape.kind) {
        throw differs(`interface ${request.ifname} is of kind ${link.kind ?? 'none'}, not ${this.#shape.kind}`);
      }
      await this.#shape.check?.(node, sandbox, request, link);
    });
  }

  async status(request: PluginRequest): Promise<void> {
    await this.#shape.status?.(this.#context.node, request);
    await (await ipamOf(this.#context, request))?.status();
  }

  async gc(request: PluginRequest): Promise<void> {
    // Interfaces go with their sandboxes; only addresses outlive them.
    await (await ipamOf(this.#context, request))?.gc();
  }

  async #ipam(request: PluginRequest): ReturnType<typeof ipamOf> {
    const ipam = await ipamOf(this.#context, request);
    if (ipam === undefined && this.#shape.ipam === 'required' && this.#shape.chained?.(request) === undefined) {
      throw invalid(`${this.name} requires an IPAM configuration: ipam.type is missing`);
    }
    return ipam;
  }

  async #finish(sandbox: Sandbox, request: PluginRequest, given: CniResult | undefined): Promise<CniResult> {
    const { ifname } = request;
    const link = await sandbox.rtnl.links.get(ifname);
    if (link === undefined) {
      throw new CniError(CniCode.tryAgainLater, `${ifname} was deleted while it was being set up`);
    }
    const ips = (given?.ips ?? []).map((ip) => ({ ...ip, interface: 0 }));
    const routes = given?.routes ?? [];
    if (given === undefined) await sandbox.rtnl.links.set(link.index, { up: true });
    else {
      for (const family of this.#shape.notify ?? []) quietly(NOTIFY[family].replace('NAME', ifname), sandbox);
      await configureInterface(sandbox, link, { ips, routes });
    }
    const dns = this.#shape.ipamDns === true ? given?.dns : readDns(objectField(request.config, 'dns'), 'dns');
    return {
      interfaces: [{ name: ifname, ...(link.mac ? { mac: link.mac } : {}), sandbox: request.netns }],
      ips,
      routes,
      ...(dns === undefined ? {} : { dns }),
    };
  }
}

/** Sets what not every kernel has. */
function quietly(key: string, sandbox: Sandbox): void {
  try {
    writeSysctl(key, '1', sandbox.ns);
  } catch (error) {
    if (!isKernelError(error)) throw error;
  }
}

/** Refuses an interface name that is in use in the sandbox, before anything is made. */
export async function refuseTaken(sandbox: Sandbox, ifname: string): Promise<void> {
  if ((await sandbox.rtnl.links.get(ifname)) === undefined) return;
  throw new CniError(CniCode.interfaceExists, `interface ${ifname} exists already in ${sandbox.path}`);
}

/**
 * Makes a link in the sandbox from a socket of its lower interface's namespace. It is born under a name nobody has and
 * then renamed, because kernels before 6.13 look for the wanted name in the namespace of the request.
 */
export async function addRenamed(
  home: Rtnl,
  sandbox: Sandbox,
  request: PluginRequest,
  spec: Omit<LinkSpec, 'name' | 'ns'>,
): Promise<void> {
  const digest = createHash('sha256').update(`${request.containerId}\0${request.ifname}`).digest('hex');
  const name = `tmp${digest.slice(0, 11)}`;
  const born = { ...spec, name, ns: sandbox.ns };
  try {
    await home.links.add(born);
  } catch (error) {
    if (!isKernelError(error, 'EEXIST')) throw error;
    // A leftover of a call that was cut short.
    await sandbox.rtnl.links.del(name, { missingOk: true });
    await home.links.add(born);
  }
  try {
    await sandbox.rtnl.links.set(name, { name: request.ifname });
  } catch (error) {
    await sandbox.rtnl.links.del(name, { missingOk: true });
    if (!isKernelError(error, 'EEXIST')) throw error;
    throw new CniError(CniCode.interfaceExists, `interface ${request.ifname} exists already in ${sandbox.path}`);
  }
}
