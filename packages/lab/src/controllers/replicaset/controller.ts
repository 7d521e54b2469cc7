import {
  type Again,
  type Controller,
  type ControllerContext,
  eventRecorder,
  LOOK_AGAIN_MS,
  OwnWrites,
  podInformer,
  WorkQueue,
} from '@weft/controllers';
import { isDeleting, objectKey, type Pod, type ReplicaSet, resources } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { claim, followOwned } from '../common/claim.ts';
import { isTerminating, PodControl, slowStart } from '../common/pod-control.ts';
import { writeStatus } from '../common/status.ts';
import { nextAvailable, planReplicas, replicaStatus } from './compile.ts';

const NAME = 'replicaset-controller';
const KIND = { apiVersion: 'apps/v1', kind: 'ReplicaSet' };

/** Keeps as many pods as a ReplicaSet asks for. */
export function replicaSetController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  informers.owned(resources.replicasets);
  const sets = informers.index(resources.replicasets, 'namespace', (set) => set.metadata.namespace);
  const writes = new OwnWrites();
  const control = new PodControl({ client, pods, recorder, writes, kind: KIND });
  const claims = { client, type: resources.pods, informer: pods, writes, kind: KIND };
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 8 }, reconcile);

  async function reconcile(key: string): Promise<Again> {
    const set = sets.get(key);
    if (set === undefined) {
      writes.forget(key);
      return undefined;
    }
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const own = await claim(claims, key, set, set.spec.selector);
    let failed: unknown;
    let failure: Parameters<typeof replicaStatus>[3];
    if (!isDeleting(set)) {
      const plan = planReplicas(set, own);
      try {
        await apply(key, set, plan.create, plan.remove);
      } catch (error) {
        failed = error;
        const reason = plan.create > 0 ? 'FailedCreate' : 'FailedDelete';
        failure = { reason, message: errorMessage(error) };
      }
    }
    const now = Date.now();
    await writeStatus(client, resources.replicasets, sets, writes, key, set, replicaStatus(set, own, now, failure));
    if (failed !== undefined && !isTerminating(failed)) throw failed;
    return nextAvailable(own, set.spec.minReadySeconds ?? 0, now);
  }

  async function apply(key: string, set: ReplicaSet, create: number, remove: readonly Pod[]): Promise<void> {
    const { template } = set.spec;
    if (create > 0 && template !== undefined) {
      await slowStart(Array.from({ length: create }), () => control.create(key, set, { template }));
    }
    const results = await Promise.allSettled(remove.map((pod) => control.remove(key, set, pod)));
    for (const result of results) if (result.status === 'rejected') throw result.reason;
  }

  sets.on({
    add: (set) => queue.add(objectKey(set)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (set) => queue.add(objectKey(set)),
  });
  followOwned(
    pods,
    sets,
    KIND,
    (set) => set.spec.selector,
    (key) => queue.add(key),
  );

  return { name: NAME, needs: [sets, pods], begin: () => queue.release(), idle: () => queue.idle() };
}
