import { createHash } from 'node:crypto';
import { isKernelError, type Link, writeSysctl } from '@weft/kernel';
import { CniCode, CniError } from '../../spec/errors.ts';
import type { PluginRequest } from '../../spec/types.ts';
import type { NodeNetwork } from '../../wiring/node.ts';
import { inSandboxIfThere, type Sandbox } from './sandbox.ts';

/** Name of the node's end of an attachment's pair: the same at every call. */
export function hostVethName(request: PluginRequest): string {
  const text = `${request.network}\0${request.containerId}\0${request.ifname}`;
  return `veth${createHash('sha256').update(text).digest('hex').slice(0, 8)}`;
}

export interface Pair {
  /** The node's end. */
  readonly near: Link;
  /** The sandbox's end. */
  readonly far: Link;
}

export interface PairOptions {
  readonly mtu?: number | undefined;
  readonly mac?: string | undefined;
  /** Index of the bridge that the node's end joins. */
  readonly master?: number;
}

/** Makes a veth pair with its far end in the sandbox. The node's end is up; the far end is for the caller to bring up. */
export async function addPair(
  node: NodeNetwork,
  sandbox: Sandbox,
  request: PluginRequest,
  { mtu, mac, master }: PairOptions,
): Promise<Pair> {
  const { ifname } = request;
  const name = hostVethName(request);
  const spec = {
    name,
    kind: 'veth',
    ...(mtu === undefined ? {} : { mtu }),
    ...(master === undefined ? {} : { master }),
    peer: {
      name: ifname,
      ns: sandbox.ns,
      ...(mtu === undefined ? {} : { mtu }),
      ...(mac === undefined ? {} : { mac }),
    },
  };
  await node.reaper.settled(name);
  try {
    await node.rtnl.links.add(spec);
  } catch (error) {
    if (!isKernelError(error, 'EEXIST')) throw error;
    if ((await sandbox.rtnl.links.get(ifname)) !== undefined) {
      throw new CniError(CniCode.interfaceExists, `interface ${ifname} exists already in ${sandbox.path}`);
    }
    // A leftover of a call that was cut short: its far end is in no sandbox of ours.
    await node.reaper.remove(name);
    await node.rtnl.links.add(spec);
  }
  quietRa(node, name);
  await node.rtnl.links.set(name, { up: true });
  const [near, far] = await Promise.all([node.rtnl.links.get(name), sandbox.rtnl.links.get(ifname)]);
  if (near === undefined || far === undefined) {
    throw new CniError(CniCode.tryAgainLater, `${name} was deleted while ${sandbox.path} was being connected`);
  }
  return { near, far };
}

/** Router advertisements from pods must not configure the node. */
function quietRa(node: NodeNetwork, name: string): void {
  try {
    writeSysctl(`net/ipv6/conf/${name}/accept_ra`, '0', node.ns);
  } catch {
    // No IPv6 in this kernel, or a link that is gone already: neither takes advertisements.
  }
}

/**
 * Hands the pair of an attachment to the kernel for removal, together with others that go now, and does not wait the 20 ms
 * that takes. Also one that the reference plugins made, whose name is not known, by its end in the sandbox. Nothing
 * happens when it is gone.
 */
export async function deletePair(node: NodeNetwork, request: PluginRequest): Promise<void> {
  const name = hostVethName(request);
  if ((await node.rtnl.links.get(name)) !== undefined) {
    // The reaper logs what fails; a repeated DEL, or the end of the sandbox, does the rest.
    void node.reaper.remove(name).catch(() => {});
    return;
  }
  await inSandboxIfThere(node, request.netns, ({ rtnl }) => rtnl.links.del(request.ifname, { missingOk: true }));
}
