import { isKernelError, NetNs, Rtnl, writeSysctl } from '@weft/kernel';
import { errorMessage, type Logger } from '@weft/plan';
import { CniCode, CniError } from '../spec/errors.ts';
import { LinkReaper } from './reaper.ts';

export interface NodeNetworkOptions {
  /** The node's network namespace; default: the one of this process. */
  readonly ns?: NetNs;
  readonly log: Logger;
}

/** The node's side of pod wiring: one netlink socket, and what must be set once. */
export class NodeNetwork {
  readonly ns: NetNs | undefined;
  readonly rtnl: Rtnl;
  readonly reaper: LinkReaper;
  readonly log: Logger;
  readonly #forwarding = new Set<4 | 6>();

  constructor(options: NodeNetworkOptions) {
    this.ns = options.ns;
    this.log = options.log;
    this.rtnl = Rtnl.open(options.ns);
    this.reaper = new LinkReaper(this.rtnl, options.log);
  }

  /** Switches forwarding on, once per family. */
  forward(family: 4 | 6): void {
    if (this.#forwarding.has(family)) return;
    writeSysctl(family === 4 ? 'net.ipv4.ip_forward' : 'net.ipv6.conf.all.forwarding', '1', this.ns);
    this.#forwarding.add(family);
  }

  /** Opens a sandbox named by CNI_NETNS. */
  openSandbox(path: string): NetNs {
    if (path === '') throw new CniError(CniCode.invalidEnvironment, 'required env variables [CNI_NETNS] missing');
    if (/^\/proc\/(self|thread-self)\//.test(path)) {
      throw new CniError(CniCode.invalidNetns, `CNI_NETNS: ${path} means another process to the weft agent`);
    }
    let ns: NetNs | undefined;
    try {
      ns = NetNs.open(path);
      // Opening takes any file; only entering tells whether it is a network namespace.
      ns.run(() => {});
    } catch (error) {
      ns?.close();
      throw new CniError(CniCode.invalidNetns, `CNI_NETNS: ${errorMessage(error)}`, undefined, error);
    }
    const own = this.ns ?? NetNs.current();
    const same = own.inode === ns.inode;
    if (own !== this.ns) own.close();
    if (same) {
      ns.close();
      throw new CniError(CniCode.invalidNetns, `CNI_NETNS: ${path} is the network namespace of the node itself`);
    }
    return ns;
  }

  /** Like `openSandbox`, but undefined when the namespace is gone. */
  tryOpenSandbox(path: string): NetNs | undefined {
    if (path === '') return undefined;
    try {
      return NetNs.open(path);
    } catch (error) {
      if (isKernelError(error)) return undefined;
      throw error;
    }
  }

  close(): void {
    this.rtnl.close();
  }
}
