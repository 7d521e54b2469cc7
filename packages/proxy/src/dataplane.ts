import type { Diff, Plan } from '@weft/plan';
import type { Family } from '@weft/net';
import type { XtablesUse } from './iptables/cleanup.ts';
import type { Protocol, Planned } from './model/types.ts';

/** What a data plane can do. Configuration that asks for more is refused by name. */
export interface Capabilities {
  readonly families: readonly (4 | 6)[];
  readonly protocols: readonly Protocol[];
  readonly sessionAffinity: boolean;
  readonly sourceRanges: boolean;
  /** NodePorts on 127.0.0.1. */
  readonly localhostNodePorts: boolean;
  /** NodePorts on every local address. */
  readonly allNodePortAddresses: boolean;
  /** Clients of a port without endpoints are refused at once. */
  readonly rejects: boolean;
  /** TCP clients are refused by a reset, however many they are; else by ICMP errors, which the kernel rate limits. */
  readonly resets: boolean;
  /** The node's own connections to external addresses without endpoints are refused; else they are routed on. */
  readonly refusesNodeToExternal: boolean;
  /** Inside Service blocks, ports that no Service has are refused and addresses that nobody has are dropped. */
  readonly guardsServiceBlocks: boolean;
  /** The external Local policy binds clients from beyond the node only: pods and the node itself use all endpoints. */
  readonly localForOutsideOnly: boolean;
  /**
   * Where a Local policy has no endpoint on this node but others do, packets are dropped; else frontends for outside clients
   * use the others all the same (kubernetes#97081), and a ClusterIP refuses.
   */
  readonly dropsWithoutLocal: boolean;
  /** A client's stay with its endpoint ends after the time it was away; else not before its last connection is forgotten. */
  readonly affinityEndsOnTime: boolean;
  /** Connections outlive their Service. */
  readonly keepsConnections: boolean;
  /** Endpoints see who their client is, where nothing has to be masqueraded; else every client is this node. */
  readonly keepsClientAddress: boolean;
  /** Traffic goes on while no agent runs. */
  readonly worksWithoutAgent: boolean;
}

/** How a data plane found the node when it started. */
export interface StartReport {
  /** Families whose rules were taken over as they are. */
  readonly adopted: readonly (4 | 6)[];
  /** Why found rules could not be taken over; they are replaced in one transaction. */
  readonly replaced: readonly string[];
}

/**
 * One way to bring Services about in the kernel. All data planes get the same plan, whose entries name no kernel object,
 * and pass the same compliance suite.
 */
export interface DataPlane {
  /** kube-proxy's name of the mode: `nftables`, `iptables`, `ipvs`, `userspace`, `ebpf`. */
  readonly name: string;
  readonly capabilities: Capabilities;
  /**
   * Opens the kernel and looks at what an earlier agent left. Changes nothing: traffic goes on as it was. The plan then
   * comes by one or more calls of `apply`, and `complete` says that it is all there.
   */
  start(): Promise<StartReport>;
  /**
   * Leads the kernel from the applied plan to the next one, in one transaction. `applied` is the plan before `diff`.
   * Rejects with the kernel unchanged. Before `complete`, nothing that an earlier agent left is taken away.
   */
  apply(diff: Diff<Planned>, applied: Plan<Planned>): Promise<void>;
  /** The whole plan has been applied once: what an earlier agent left and the plan does not ask for goes. */
  complete(applied: Plan<Planned>): Promise<void>;
  /** Compares the kernel with the plan and repairs it. Returns how many elements were wrong. */
  audit(applied: Plan<Planned>): Promise<number>;
  /** Lets go of the kernel. What was applied stays in effect, as far as it does without the agent. */
  stop(): Promise<void>;
  /**
   * Another plane serves, and `cleanup` follows: for planes whose clients would fail in between, were they stopped. Called
   * in place of `stop`.
   */
  retire?(): Promise<void>;
  /** It serves by the table of the nftables data plane, in whole or in part. */
  readonly sharesNftables?: boolean;
  /** What it has in x_tables, for planes that use them: some names of chains are the same in several modes. */
  xtables?(family: Family): XtablesUse | undefined;
  /**
   * Removes every trace, also of an earlier run, but for what `next`, which serves already, has under the same names. May
   * be called without `start`.
   */
  cleanup(next?: DataPlane): Promise<void>;
}
