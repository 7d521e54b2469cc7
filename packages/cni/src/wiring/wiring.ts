import { isKernelError, type LinkSpec, type NetNs, Rtnl } from '@weft/kernel';
import { CniCode, CniError } from '../spec/errors.ts';
import type { CniResult, CniRoute } from '../spec/types.ts';
import type { NodeNetwork } from './node.ts';

/** An address for a pod, and the subnet it comes from. */
export interface PodAddress {
  readonly family: 4 | 6;
  /** Without length. */
  readonly ip: string;
  /** Prefix length of the subnet. */
  readonly length: number;
  /** The subnet's gateway. */
  readonly gateway: string | undefined;
}

/** A pod to connect to its node. */
export interface WiringRequest {
  /** Name of the node's end. */
  readonly link: string;
  /** Text on the node's end that says whose it is. */
  readonly alias: string;
  readonly ifname: string;
  readonly mac: string;
  readonly mtu: number;
  readonly sandbox: NetNs;
  /** As the runtime wrote it. */
  readonly sandboxPath: string;
  readonly addresses: readonly PodAddress[];
  /** Routes asked for by the IPAM; empty: a default route per family. */
  readonly routes: readonly CniRoute[];
}

/** One way of connecting pods to their node. */
export interface Wiring {
  /** Makes everything; on failure the caller deletes the node's end, and with it all the rest. */
  connect(node: NodeNetwork, request: WiringRequest): Promise<CniResult>;
  /** Throws what is missing or different, naming it. */
  check(node: NodeNetwork, request: CheckRequest): Promise<void>;
}

export interface CheckRequest {
  readonly link: string;
  readonly ifname: string;
  readonly sandbox: NetNs;
  /** What ADD answered in the end. */
  readonly result: CniResult;
  /** Addresses that this plugin gave. */
  readonly addresses: readonly string[];
}

export function hostBits(family: 4 | 6): number {
  return family === 4 ? 32 : 128;
}

/** Makes the veth pair, its far end straight in the sandbox. Resolves with the indexes of both ends and their sockets. */
export async function createPair(
  node: NodeNetwork,
  request: WiringRequest,
  near: Pick<LinkSpec, 'mac' | 'master'>,
): Promise<{ readonly near: number; readonly nearMac: string; readonly far: number; readonly pod: Rtnl }> {
  const { link, ifname, mac, mtu, sandbox } = request;
  const pod = Rtnl.open(sandbox);
  try {
    const spec: LinkSpec = { name: link, kind: 'veth', mtu, ...near, peer: { name: ifname, ns: sandbox, mac, mtu } };
    try {
      await node.rtnl.links.add(spec);
    } catch (error) {
      if (!isKernelError(error, 'EEXIST')) throw error;
      if ((await pod.links.get(ifname)) !== undefined) {
        throw new CniError(CniCode.interfaceExists, `interface ${ifname} exists already in ${request.sandboxPath}`);
      }
      // The node's end is a leftover: its far end is not where this pod is.
      await node.reaper.remove(link);
      await node.rtnl.links.add(spec);
    }
    const [outside, inside] = await Promise.all([node.rtnl.links.get(link), pod.links.get(ifname)]);
    if (outside === undefined || inside === undefined) {
      throw new CniError(CniCode.tryAgainLater, `${link} was deleted while ${request.sandboxPath} was being connected`);
    }
    return { near: outside.index, nearMac: outside.mac ?? '', far: inside.index, pod };
  } catch (error) {
    pod.close();
    throw error;
  }
}

/** What CHECK wants of the pod's end in any mode: the interface with its MAC, up, and its addresses. */
export async function checkPodSide(pod: Rtnl, request: CheckRequest): Promise<{ readonly index: number }> {
  const fail = (what: string): never => {
    throw new CniError(CniCode.checkFailed, what);
  };
  const link = await pod.links.get(request.ifname);
  if (link === undefined) return fail(`interface ${request.ifname} is missing in the sandbox`);
  if (!link.up) return fail(`interface ${request.ifname} is down in the sandbox`);
  const told = request.result.interfaces?.find((i) => i.name === request.ifname && i.sandbox !== undefined);
  if (told === undefined) return fail(`prevResult has no interface ${request.ifname} in a sandbox`);
  if (told.mac !== undefined && told.mac.toLowerCase() !== link.mac) {
    return fail(`interface ${request.ifname} has MAC address ${link.mac}, not ${told.mac}`);
  }
  if (told.mtu !== undefined && told.mtu !== link.mtu) {
    return fail(`interface ${request.ifname} has MTU ${link.mtu}, not ${told.mtu}`);
  }
  const present = new Set((await pod.addresses.list({ index: link.index })).map((a) => a.address.split('/')[0]));
  for (const address of request.addresses) {
    if (!present.has(address)) return fail(`interface ${request.ifname} lacks address ${address}`);
  }
  return { index: link.index };
}
