import {
  beginAll,
  type Controller,
  type ControllerContext,
  type InformerSet,
  sharedInformers,
} from '@weft/controllers';
import type { KubeClient } from '@weft/kube';
import type { Logger, Metrics } from '@weft/plan';
import { cronJobController } from './cronjob/controller.ts';
import { daemonSetController } from './daemonset/controller.ts';
import { deploymentController } from './deployment/controller.ts';
import { garbageCollector } from './gc/controller.ts';
import { jobController } from './job/controller.ts';
import { nodeLifecycleController } from './node-lifecycle/controller.ts';
import { replicaSetController } from './replicaset/controller.ts';
import { scheduler } from './scheduler/controller.ts';
import { statefulSetController } from './statefulset/controller.ts';

export { notEnforcedInLab } from './not-enforced.ts';

export interface StartWorkloadsOptions {
  readonly client: KubeClient;
  /** Default: the set of this client, shared with the network's controllers. */
  readonly informers?: InformerSet;
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Stops everything. */
  readonly signal: AbortSignal;
  /** How long a node may be silent before it is called unreachable, in milliseconds. Default 40 s. */
  readonly nodeGraceMs?: number;
}

export interface RunningWorkloads {
  /** Resolves when no controller has anything to do for now. */
  idle(): Promise<void>;
}

/**
 * Starts what kube-scheduler and kube-controller-manager do elsewhere. Returns once they watch; each begins to write when
 * it has read the state.
 */
export async function startWorkloads(options: StartWorkloadsOptions): Promise<RunningWorkloads> {
  const { client, log, metrics, signal } = options;
  const informers = options.informers ?? sharedInformers({ client, log, metrics, signal });
  const context: ControllerContext = { client, informers, log, metrics, signal };
  const controllers: Controller[] = [
    scheduler(context),
    replicaSetController(context),
    deploymentController(context),
    daemonSetController(context),
    statefulSetController(context),
    jobController(context),
    cronJobController(context),
    nodeLifecycleController(context, options),
    garbageCollector(context),
  ];
  beginAll(controllers, log, signal);
  return { idle: async () => void (await Promise.all(controllers.map((c) => c.idle()))) };
}
