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
import { type DaemonSet, isDeleting, type Node, objectKey, resources, wellKnown } from '@weft/kube';
import { sameValue } from '@weft/plan';
import { claim, followOwned } from '../common/claim.ts';
import { hashOf, syncHistory, trimHistory } from '../common/history.ts';
import { isTerminating, PodControl, slowStart } from '../common/pod-control.ts';
import { writeStatus } from '../common/status.ts';
import { nextAvailable } from '../replicaset/compile.ts';
import { compileDaemonSet, daemonPodSpec } from './compile.ts';

const NAME = 'daemonset-controller';
const KIND = { apiVersion: 'apps/v1', kind: 'DaemonSet' };

/** Keeps one pod of each DaemonSet on every node that should have one. */
export function daemonSetController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const nodes = informers.of(resources.nodes);
  const revisions = informers.owned(resources.controllerrevisions);
  const sets = informers.index(resources.daemonsets, 'namespace', (set) => set.metadata.namespace);
  const writes = new OwnWrites();
  const control = new PodControl({ client, pods, recorder, writes, kind: KIND });
  const claims = { client, type: resources.pods, informer: pods, writes, kind: KIND };
  const histories = { client, revisions, writes, kind: KIND };
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 4 }, reconcile);

  async function reconcile(key: string): Promise<Again> {
    const set = sets.get(key);
    if (set === undefined) {
      writes.forget(key);
      return undefined;
    }
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    if (isDeleting(set)) return undefined;
    const history = await syncHistory(histories, key, set);
    if (history === undefined) return LOOK_AGAIN_MS;
    const own = await claim(claims, key, set, set.spec.selector);
    const hash = hashOf(history.current);
    const now = Date.now();
    const plan = compileDaemonSet(set, nodes.list(), own, hash, now);
    let failure: unknown;
    try {
      await slowStart(plan.create, (node) => create(key, set, node, hash));
    } catch (error) {
      failure = error;
    }
    for (const pod of plan.failed) {
      const { namespace, name } = pod.metadata;
      const message = `Found failed daemon pod ${namespace}/${name} on node ${pod.spec.nodeName}, will try to kill it`;
      recorder.event({ ...set, ...KIND }, 'Warning', 'FailedDaemonPod', message);
    }
    const results = await Promise.allSettled(
      [...plan.remove, ...plan.failed].map((pod) => control.remove(key, set, pod)),
    );
    for (const result of results) if (result.status === 'rejected') failure ??= result.reason;
    const live = new Set(own.map((pod) => pod.metadata.labels?.[wellKnown.labels.controllerRevisionHash] ?? ''));
    await trimHistory(histories, key, history, set.spec.revisionHistoryLimit ?? 10, live);
    await writeStatus(client, resources.daemonsets, sets, writes, key, set, plan.status);
    if (failure !== undefined && !isTerminating(failure)) throw failure;
    return nextAvailable(own, set.spec.minReadySeconds ?? 0, now);
  }

  function create(key: string, set: DaemonSet, node: string, hash: string): Promise<unknown> {
    const { template } = set.spec;
    const labels = {
      [wellKnown.labels.controllerRevisionHash]: hash,
      'pod-template-generation': String(set.metadata.generation ?? 1),
    };
    return control.create(key, set, { template, labels, spec: daemonPodSpec(template.spec, node) });
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
  const touchAll = (): void => {
    for (const set of sets.list()) queue.add(objectKey(set));
  };
  nodes.on({
    add: touchAll,
    delete: touchAll,
    update: (before: Node, after: Node) => {
      const same =
        sameValue(before.metadata.labels, after.metadata.labels) && sameValue(before.spec?.taints, after.spec?.taints);
      if (!same) touchAll();
    },
  });

  return {
    name: NAME,
    needs: [sets, pods, nodes, revisions],
    begin: () => queue.release(),
    idle: () => queue.idle(),
  };
}
