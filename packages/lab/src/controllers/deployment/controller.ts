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
import {
  controllerOf,
  controllerRef,
  type Deployment,
  type Draft,
  isControlledBy,
  isStatus,
  objectKey,
  type ReplicaSet,
  resources,
  wellKnown,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { claim, followOwned } from '../common/claim.ts';
import { ignoreGone } from '../common/gone.ts';
import { isTerminating } from '../common/pod-control.ts';
import { writeStatus } from '../common/status.ts';
import { sameTemplate } from '../common/template.ts';
import { compileDeployment, type SetChange } from './compile.ts';

const NAME = 'deployment-controller';
const KIND = { apiVersion: 'apps/v1', kind: 'Deployment' };

/** Leads Deployments from one ReplicaSet to the next. */
export function deploymentController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const sets = informers.owned(resources.replicasets);
  const deployments = informers.index(resources.deployments, 'namespace', (d) => d.metadata.namespace);
  const writes = new OwnWrites();
  const claims = { client, type: resources.replicasets, informer: sets, writes, kind: KIND };
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 8 }, reconcile);
  const say = (deployment: Deployment, type: 'Normal' | 'Warning', reason: string, message: string): void =>
    recorder.event({ ...deployment, ...KIND }, type, reason, message);

  async function reconcile(key: string): Promise<Again> {
    const deployment = deployments.get(key);
    if (deployment === undefined) {
      writes.forget(key);
      return undefined;
    }
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const own = await claim(claims, key, deployment, deployment.spec.selector);
    const plan = compileDeployment({
      deployment,
      sets: own,
      podsOf: (set) => pods.byIndex('owner', set.metadata.uid ?? ''),
      now: Date.now(),
    });
    if (plan.create !== undefined && !(await create(key, deployment, plan.create))) return 0;
    const results = await Promise.allSettled([
      ...plan.change.map((change) => resize(key, deployment, change)),
      ...plan.remove.map((set) => remove(key, set)),
    ]);
    for (const result of results) if (result.status === 'rejected') throw result.reason;
    let current = deployment;
    if (plan.revision !== undefined) {
      const annotations = { [wellKnown.annotations.deploymentRevision]: String(plan.revision) };
      const { namespace, name, uid } = deployment.metadata;
      const patch = { metadata: { uid, annotations } };
      current = await client.patch(resources.deployments, namespace, name, patch);
      writes.wrote(key, deployments, current);
    }
    const { conditions = [], ...counts } = plan.status;
    const status = { ...counts, conditions };
    await writeStatus(client, resources.deployments, deployments, writes, key, current, status);
    return plan.again;
  }

  /** False when the name was taken: the next try makes another. */
  async function create(key: string, deployment: Deployment, draft: Draft<ReplicaSet>): Promise<boolean> {
    const metadata = { ...draft.metadata, ownerReferences: [controllerRef(deployment, KIND)] };
    const { name = '', namespace } = metadata;
    try {
      const created = await client.create(resources.replicasets, { ...draft, metadata });
      writes.wrote(key, sets, created);
      if (created.spec.replicas) {
        const message = `Scaled up replica set ${created.metadata.name} from 0 to ${created.spec.replicas}`;
        say(deployment, 'Normal', 'ScalingReplicaSet', message);
      }
      return true;
    } catch (error) {
      if (!isStatus(error, 'AlreadyExists')) {
        if (!isTerminating(error)) {
          const message = `Failed to create new replica set "${name}": ${errorMessage(error)}`;
          say(deployment, 'Warning', 'ReplicaSetCreateError', message);
        }
        throw error;
      }
    }
    const there = await client.get(resources.replicasets, namespace, name);
    writes.wrote(key, sets, there);
    if (isControlledBy(there, deployment) && sameTemplate(there.spec.template, deployment.spec.template)) return true;
    const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
    const status = { ...deployment.status, collisionCount };
    writes.wrote(key, deployments, await client.updateStatus(resources.deployments, { ...deployment, status }));
    return false;
  }

  async function resize(key: string, deployment: Deployment, change: SetChange): Promise<void> {
    const { set, replicas, annotations, minReadySeconds } = change;
    const { namespace, name, uid } = set.metadata;
    const spec = {
      ...(replicas === undefined ? {} : { replicas }),
      ...(minReadySeconds === undefined ? {} : { minReadySeconds }),
    };
    const patch = { metadata: { uid, ...(annotations === undefined ? {} : { annotations }) }, spec };
    writes.wrote(key, sets, await client.patch(resources.replicasets, namespace, name, patch));
    if (replicas === undefined) return;
    const before = set.spec.replicas ?? 1;
    const way = replicas > before ? 'up' : 'down';
    const message = `Scaled ${way} replica set ${name} from ${before} to ${replicas}`;
    say(deployment, 'Normal', 'ScalingReplicaSet', message);
  }

  async function remove(key: string, set: ReplicaSet): Promise<void> {
    const { namespace, name, uid } = set.metadata;
    await ignoreGone(() => client.delete(resources.replicasets, namespace, name, uid === undefined ? {} : { uid }));
    writes.deleted(key, sets, objectKey(set), uid);
  }

  deployments.on({
    add: (d) => queue.add(objectKey(d)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (d) => queue.add(objectKey(d)),
  });
  followOwned(
    sets,
    deployments,
    KIND,
    (d) => d.spec.selector,
    (key) => queue.add(key),
  );
  // Recreate waits for the last old pod to be gone.
  pods.on({
    delete: (pod) => {
      const ref = controllerOf(pod);
      const set = ref?.kind === 'ReplicaSet' ? sets.get(`${pod.metadata.namespace}/${ref.name}`) : undefined;
      const owner = set === undefined ? undefined : controllerOf(set);
      if (owner?.kind !== 'Deployment') return;
      const key = `${pod.metadata.namespace}/${owner.name}`;
      if (deployments.get(key)?.spec.strategy?.type === 'Recreate') queue.add(key);
    },
  });

  return { name: NAME, needs: [deployments, sets, pods], begin: () => queue.release(), idle: () => queue.idle() };
}
