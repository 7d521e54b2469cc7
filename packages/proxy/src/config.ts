import type { Family, Prefix } from '@weft/net';

/** How packets that come from pods are told from others. */
export type LocalDetector =
  | { readonly by: 'cidr'; readonly cidrs: readonly Prefix[] }
  | { readonly by: 'bridge'; readonly name: string }
  | { readonly by: 'interfacePrefix'; readonly prefix: string }
  | { readonly by: 'none' };

/** Which addresses of the node answer on NodePorts; any combination. */
export interface NodePortScope {
  /** Every local address but loopback. */
  readonly all: boolean;
  /** The node's primary address (entries of the plan). */
  readonly primary: boolean;
  /** Local addresses inside these blocks. */
  readonly cidrs: readonly Prefix[];
  /** 127.0.0.1 too; only for data planes that can. */
  readonly localhost?: boolean;
}

/** What a data plane is told of one family. All of it is in the rules: another configuration means other rules. */
export interface FamilyConfig {
  readonly family: Family;
  readonly detector: LocalDetector;
  /** Blocks whose unallocated addresses are dropped. */
  readonly serviceCidrs: readonly Prefix[];
  readonly masqueradeAll: boolean;
  /** Bit of the packet mark that asks for masquerade. */
  readonly masqueradeMark: number;
  readonly nodePorts: NodePortScope;
  /** iptables mode: the kernel has the named counters (nfacct) that kube-proxy's metrics come from. */
  readonly counters?: boolean;
}
