import { join } from 'node:path';
import { auxiliaryDevice, interfacesOfDevice, type Link, NetNs, pciDevice, Rtnl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import { objectField, stringField } from '../spec/json.ts';
import { readDns } from '../spec/result.ts';
import type { CniInterface, CniResult, Plugin, PluginRequest } from '../spec/types.ts';
import type { NodeNetwork } from '../wiring/node.ts';
import { invalid, parseMac, runtimeConfig } from './common/conf.ts';
import { checkInterface, configureInterface } from './common/interface.ts';
import { ipamOf, withAddresses } from './common/ipam.ts';
import { inSandbox, inSandboxIfThere, type Sandbox } from './common/sandbox.ts';
import { refuseTaken } from './common/single.ts';
import type { MakePlugin, PluginContext } from './registry.ts';

/** Drivers by which programs have the device to themselves: the kernel has no interface to move. */
const USERSPACE_DRIVERS: ReadonlySet<string> = new Set(['vfio-pci', 'uio_pci_generic', 'igb_uio']);

/** Which device a configuration means: the first of these that it has. */
interface Wanted {
  readonly device: string | undefined;
  readonly hwaddr: string | undefined;
  readonly kernelpath: string | undefined;
  readonly pci: string | undefined;
  readonly auxiliary: string | undefined;
  /** The device belongs to a program: only addresses are given. */
  readonly userspace: boolean;
}

/** Moves an interface of the node into the sandbox, and back. */
class HostDevicePlugin implements Plugin {
  readonly name = 'host-device';
  readonly #context: PluginContext;
  readonly #sysfs: string;

  constructor(context: PluginContext, sysfs: string) {
    this.#context = context;
    this.#sysfs = sysfs;
  }

  async add(request: PluginRequest): Promise<CniResult> {
    const { node } = this.#context;
    const wanted = this.#read(request);
    const ipam = await ipamOf(this.#context, request);
    return inSandbox(node, request.netns, async (sandbox) => {
      const link = wanted.userspace ? undefined : await this.#moveIn(sandbox, request, wanted);
      const { ifname: name, netns } = request;
      const face: CniInterface = { name, ...(link?.mac ? { mac: link.mac } : {}), sandbox: netns };
      if (ipam === undefined) return { interfaces: [face] };
      try {
        return await withAddresses(ipam, async (given) => {
          const ips = (given.ips ?? []).map((ip) => ({ ...ip, interface: 0 }));
          const routes = given.routes ?? [];
          if (link !== undefined) await configureInterface(sandbox, link, { ips, routes });
          const dns = readDns(objectField(request.config, 'dns'), 'dns');
          return { interfaces: [face], ips, routes, ...(dns === undefined ? {} : { dns }) };
        });
      } catch (error) {
        // Without this the device would stay where nobody looks for it: no DEL need follow.
        if (link !== undefined) await moveOut(node, sandbox, name).catch(() => {});
        throw error;
      }
    });
  }

  async del(request: PluginRequest): Promise<void> {
    const { node } = this.#context;
    await (await ipamOf(this.#context, request))?.del();
    const there = await inSandboxIfThere(node, request.netns, async (sandbox) => {
      await moveOut(node, sandbox, request.ifname);
      return true;
    });
    if (there !== true) await this.#restoreName(request);
  }

  async check(request: PluginRequest): Promise<void> {
    const { userspace } = this.#read(request);
    await (await ipamOf(this.#context, request))?.check();
    if (userspace) return;
    await inSandbox(this.#context.node, request.netns, async (sandbox) => {
      await checkInterface(sandbox, request.ifname, request.prevResult ?? {});
    });
  }

  async status(request: PluginRequest): Promise<void> {
    // Which device it will be may only be known at ADD, and one that is in use is not on the node.
    await (await ipamOf(this.#context, request))?.status();
  }

  async gc(request: PluginRequest): Promise<void> {
    await (await ipamOf(this.#context, request))?.gc();
  }

  #read(request: PluginRequest): Wanted {
    const { config } = request;
    const text = (name: string): string | undefined => stringField(config, name) || undefined;
    const hwaddr = text('hwaddr');
    let pci = text('pciBusID');
    let auxiliary: string | undefined;
    const deviceId = stringField({ deviceID: runtimeConfig(config, 'deviceID') }, 'deviceID', 'runtimeConfig.deviceID');
    if (deviceId) {
      if (pciDevice(deviceId, this.#sysfs) !== undefined) pci = deviceId;
      else if (auxiliaryDevice(deviceId, this.#sysfs) !== undefined) [pci, auxiliary] = [undefined, deviceId];
      else throw invalid(`runtimeConfig.deviceID: ${deviceId} is no PCI and no auxiliary device of this node`);
    }
    const wanted = {
      device: text('device'),
      hwaddr: hwaddr === undefined ? undefined : parseMac(hwaddr, 'hwaddr'),
      kernelpath: text('kernelpath'),
      pci,
      auxiliary,
    };
    if (Object.values(wanted).every((value) => value === undefined)) {
      throw invalid('specify either "device", "hwaddr", "kernelpath" or "pciBusID", or capability deviceID');
    }
    if (pci === undefined) return { ...wanted, userspace: false };
    const found = pciDevice(pci, this.#sysfs);
    if (found === undefined) throw invalid(`pciBusID: there is no PCI device ${pci} on this node`);
    return { ...wanted, userspace: USERSPACE_DRIVERS.has(found.driver ?? '') };
  }

  /** The interface on the node; undefined when it is not there. */
  async #find(wanted: Wanted): Promise<Link | undefined> {
    const { rtnl } = this.#context.node;
    const { device, hwaddr, kernelpath, pci, auxiliary } = wanted;
    if (device !== undefined) return rtnl.links.get(device);
    if (hwaddr !== undefined) return (await rtnl.links.list()).find((link) => link.mac === hwaddr);
    const names =
      kernelpath !== undefined
        ? interfacesOfDevice(this.#kernelpath(kernelpath))
        : pci !== undefined
          ? (pciDevice(pci, this.#sysfs)?.interfaces ?? [])
          : interfacesOfDevice(auxiliaryDevice(auxiliary ?? '', this.#sysfs) ?? '');
    return names[0] === undefined ? undefined : rtnl.links.get(names[0]);
  }

  #kernelpath(path: string): string {
    if (!path.startsWith('/sys/devices/') || path.split('/').includes('..')) {
      throw invalid(`kernelpath: ${path} is not an absolute path below /sys/devices/`);
    }
    return join(this.#sysfs, path.slice('/sys'.length));
  }

  async #moveIn(sandbox: Sandbox, request: PluginRequest, wanted: Wanted): Promise<Link> {
    await refuseTaken(sandbox, request.ifname);
    const link = await this.#find(wanted);
    if (link === undefined)
      throw new CniError(CniCode.invalidConfig, `host-device: ${describe(wanted)} is not on the node`);
    if (link.loopback) throw invalid(`host-device: ${link.name} is the loopback interface`);
    return moveIn(this.#context.node, sandbox, link, request.ifname);
  }

  /** The kernel brought the device home when its sandbox ended, under the name that it had there. */
  async #restoreName(request: PluginRequest): Promise<void> {
    const { rtnl } = this.#context.node;
    let wanted: Wanted;
    try {
      wanted = this.#read(request);
    } catch {
      return;
    }
    const { device } = wanted;
    const link =
      device === undefined
        ? await this.#find(wanted).catch(() => undefined)
        : (await rtnl.links.list()).find((candidate) => candidate.alias === device);
    if (link?.alias === undefined || link.alias === link.name) return;
    // Somebody's own remark on an interface is no name of ours.
    if (link.name !== request.ifname && !/^dev\d+$/.test(link.name)) return;
    await rtnl.links.set(link.index, { name: link.alias, up: false, alias: '' });
  }
}

function describe({ device, hwaddr, kernelpath, pci, auxiliary }: Wanted): string {
  if (device !== undefined) return `device ${device}`;
  if (hwaddr !== undefined) return `an interface with MAC address ${hwaddr}`;
  return `an interface of ${kernelpath ?? pci ?? auxiliary}`;
}

async function withHome<T>(node: NodeNetwork, work: (home: NetNs) => Promise<T>): Promise<T> {
  if (node.ns !== undefined) return work(node.ns);
  const home = NetNs.current();
  try {
    return await work(home);
  } finally {
    home.close();
  }
}

interface Journey {
  readonly from: Rtnl;
  readonly fromNs: NetNs;
  readonly to: Rtnl;
  readonly toNs: NetNs;
  readonly link: Link;
  readonly name: string;
  readonly alias: string;
}

/**
 * Moves a link to another namespace under another name, by way of an empty one, where nothing else has the name and
 * nobody watches. What fails on the way brings it back as it was.
 */
async function travel({ from, fromNs, to, toNs, link, name, alias }: Journey): Promise<Link> {
  const between = NetNs.anonymous();
  const rtnl = Rtnl.open(between);
  try {
    await from.links.set(link.index, { ns: between });
    try {
      await rtnl.links.set(link.name, { name, alias });
      await rtnl.links.set(name, { ns: toNs });
    } catch (error) {
      const here = (await rtnl.links.list()).find((candidate) => !candidate.loopback);
      if (here !== undefined) {
        await rtnl.links.set(here.index, { name: link.name, alias: link.alias ?? '' });
        await rtnl.links.set(link.name, { ns: fromNs });
        if (link.up) await from.links.set(link.name, { up: true });
      }
      throw error;
    }
    const arrived = await to.links.get(name);
    if (arrived === undefined)
      throw new CniError(CniCode.tryAgainLater, `${name} was deleted while it was being moved`);
    return arrived;
  } finally {
    rtnl.close();
    between.close();
  }
}

function moveIn(node: NodeNetwork, sandbox: Sandbox, link: Link, ifname: string): Promise<Link> {
  return withHome(node, async (fromNs) => {
    const ends = { from: node.rtnl, fromNs, to: sandbox.rtnl, toNs: sandbox.ns };
    const arrived = await travel({ ...ends, link, name: ifname, alias: link.name });
    await sandbox.rtnl.links.set(arrived.index, { up: true });
    return arrived;
  });
}

/** Brings the device home under the name that its alias keeps; nothing happens when it is not in the sandbox. */
async function moveOut(node: NodeNetwork, sandbox: Sandbox, ifname: string): Promise<void> {
  const link = await sandbox.rtnl.links.get(ifname);
  if (link?.alias === undefined || link.alias === '') return;
  const { alias } = link;
  await withHome(node, async (toNs) => {
    const ends = { from: sandbox.rtnl, fromNs: sandbox.ns, to: node.rtnl, toNs };
    await travel({ ...ends, link, name: alias, alias: '' });
  });
}

/** The plugin, with sysfs mounted elsewhere than at /sys. */
export function hostDeviceAt(sysfs: string): MakePlugin {
  return (context) => new HostDevicePlugin(context, sysfs);
}

export const hostDevice: MakePlugin = hostDeviceAt('/sys');
