import type { KubeClient } from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import { addressGcController, type AddressGcOptions } from './address-gc/controller.ts';
import { beginAll, type Controller, type ControllerContext } from './context.ts';
import { endpointsController } from './endpoints/controller.ts';
import { endpointSliceController } from './endpointslice/controller.ts';
import { loadBalancerController } from './load-balancer/controller.ts';
import { mirroringController } from './mirroring/controller.ts';
import { nodeIpamController } from './node-ipam/controller.ts';
import { type NotEnforced, notEnforcedByDefault, notEnforcedController } from './not-enforced/controller.ts';
import { type InformerSet, sharedInformers } from './shared.ts';

export interface StartControllersOptions {
  readonly client: KubeClient;
  /** Where Nodes get their blocks from, one per family; see NodeIpamOptions. Empty: Nodes are left alone. */
  readonly clusterCidrs: readonly string[];
  /** Prefix length of a node's IPv4 block, for example 24. */
  readonly nodeCidrMaskSize: number;
  readonly nodeCidrMaskSizeIpv6?: number;
  /** No node gets a block that overlaps these. */
  readonly serviceCidrs?: readonly string[];
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Stops everything. */
  readonly signal: AbortSignal;
  /** Give Services of type LoadBalancer addresses of pools. Needs the kind IPAddressPool. Default false. */
  readonly loadBalancer?: boolean;
  /** How what deleted nodes leave of address pools is removed. */
  readonly addressGc?: AddressGcOptions;
  /** Kinds that nothing enforces; default NetworkPolicy and Ingress. */
  readonly notEnforced?: readonly NotEnforced[];
  /** Default: the set of this client, shared with whoever else asks for it. */
  readonly informers?: InformerSet;
}

export interface RunningControllers {
  readonly informers: InformerSet;
  /** Resolves when no controller has anything to do for now. */
  idle(): Promise<void>;
}

/**
 * Starts the network's controllers: EndpointSlice, Endpoints, mirroring, node addresses, and the honest word about what
 * is not enforced. Returns once they watch; each begins to write when it has read the state.
 */
export async function startControllers(options: StartControllersOptions): Promise<RunningControllers> {
  const { client, log, metrics, signal } = options;
  const informers = options.informers ?? sharedInformers({ client, log, metrics, signal });
  const context: ControllerContext = { client, informers, log, metrics, signal };
  const controllers: Controller[] = [
    ...(options.clusterCidrs.length === 0 ? [] : [nodeIpamController(context, options)]),
    addressGcController(context, options.addressGc),
    endpointSliceController(context),
    endpointsController(context),
    mirroringController(context),
    ...(options.loadBalancer === true ? [loadBalancerController(context)] : []),
    ...(options.notEnforced ?? notEnforcedByDefault).map((kind) => notEnforcedController(context, kind)),
  ];
  beginAll(controllers, log, signal);
  return { informers, idle: async () => void (await Promise.all(controllers.map((c) => c.idle()))) };
}
