import { type NetNs, Rtnl } from '@weft/kernel';
import type { NodeNetwork } from '../../wiring/node.ts';

/** A pod's network namespace, opened: closed by who opened it. */
export interface Sandbox {
  readonly ns: NetNs;
  readonly rtnl: Rtnl;
  /** As CNI_NETNS gave it. */
  readonly path: string;
}

async function use<T>(ns: NetNs, path: string, work: (sandbox: Sandbox) => Promise<T>): Promise<T> {
  try {
    const rtnl = Rtnl.open(ns);
    try {
      return await work({ ns, rtnl, path });
    } finally {
      rtnl.close();
    }
  } finally {
    ns.close();
  }
}

/** Does work in the namespace that CNI_NETNS names; throws a CniError when it is none. */
export async function inSandbox<T>(
  node: NodeNetwork,
  path: string,
  work: (sandbox: Sandbox) => Promise<T>,
): Promise<T> {
  return use(node.openSandbox(path), path, work);
}

/** The same for DEL: a namespace that is gone, or was not named, leaves nothing to do. */
export async function inSandboxIfThere<T>(
  node: NodeNetwork,
  path: string,
  work: (sandbox: Sandbox) => Promise<T>,
): Promise<T | undefined> {
  const ns = node.tryOpenSandbox(path);
  if (ns === undefined) return undefined;
  try {
    // Opening takes any file, such as the mount point of a namespace that is gone; only entering tells.
    ns.run(() => {});
  } catch {
    ns.close();
    return undefined;
  }
  return use(ns, path, work);
}
