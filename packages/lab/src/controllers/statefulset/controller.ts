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
  type ControllerRevision,
  isStatus,
  objectKey,
  type PodTemplateSpec,
  resources,
  type StatefulSet,
  wellKnown,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { claim, followOwned } from '../common/claim.ts';
import { type History, syncHistory, trimHistory } from '../common/history.ts';
import { isTerminating, PodControl, type PodWords } from '../common/pod-control.ts';
import { writeStatus } from '../common/status.ts';
import { nextAvailable } from '../replicaset/compile.ts';
import { compileStatefulSet, type StatefulCreate, statefulLabels, statefulPodSpec } from './compile.ts';

const NAME = 'statefulset-controller';
const KIND = { apiVersion: 'apps/v1', kind: 'StatefulSet' };

const WORDS: PodWords = {
  created: (pod, owner) => `create Pod ${pod} in StatefulSet ${owner} successful`,
  createFailed: (pod, owner, why) => `create Pod ${pod} in StatefulSet ${owner} failed error: ${why}`,
  deleted: (pod, owner) => `delete Pod ${pod} in StatefulSet ${owner} successful`,
  deleteFailed: (pod, owner, why) => `delete Pod ${pod} in StatefulSet ${owner} failed error: ${why}`,
};

/** Keeps the numbered pods of StatefulSets. */
export function statefulSetController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const revisions = informers.owned(resources.controllerrevisions);
  const sets = informers.index(resources.statefulsets, 'namespace', (set) => set.metadata.namespace);
  const writes = new OwnWrites();
  const control = new PodControl({ client, pods, recorder, writes, kind: KIND, words: WORDS });
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
    const history = await syncHistory(histories, key, set);
    if (history === undefined) return LOOK_AGAIN_MS;
    const own = await claim(claims, key, set, set.spec.selector);
    const update = history.current.metadata.name;
    // The revision that a running update comes from; without one on record the set is where it goes to.
    const from = set.status?.currentRevision ?? update;
    const current = history.old.some((r) => r.metadata.name === from) ? from : update;
    const now = Date.now();
    const plan = compileStatefulSet(set, own, { current, update }, now);
    let failure: unknown;
    for (const pod of plan.failed) {
      const message = `StatefulSet ${key} is recreating failed Pod ${pod.metadata.name}`;
      recorder.event({ ...set, ...KIND }, 'Warning', 'RecreatingFailedPod', message);
    }
    const results = await Promise.allSettled([
      ...plan.create.map((item) => create(key, set, history, item)),
      ...[...plan.remove, ...plan.failed].map((pod) => control.remove(key, set, pod)),
    ]);
    for (const result of results) if (result.status === 'rejected') failure ??= result.reason;
    const live = new Set(own.map((pod) => pod.metadata.labels?.[wellKnown.labels.controllerRevisionHash] ?? ''));
    const unused = {
      ...history,
      old: history.old.filter((r) => !live.has(r.metadata.name) && r.metadata.name !== current),
    };
    await trimHistory(histories, key, unused, set.spec.revisionHistoryLimit ?? 10, new Set());
    await writeStatus(client, resources.statefulsets, sets, writes, key, set, plan.status);
    if (failure !== undefined && !isTerminating(failure)) throw failure;
    return nextAvailable(own, set.spec.minReadySeconds ?? 0, now);
  }

  async function create(key: string, set: StatefulSet, history: History, item: StatefulCreate): Promise<void> {
    const template = templateOf(history, item.revision) ?? set.spec.template;
    await createClaims(set, item.name);
    await control.create(key, set, {
      name: item.name,
      template,
      labels: statefulLabels(item.name, item.ordinal, item.revision),
      spec: statefulPodSpec(set, template.spec, item.name),
    });
  }

  /** Claims outlive their pods: one that exists is what the pod comes back to. */
  async function createClaims(set: StatefulSet, pod: string): Promise<void> {
    const { namespace } = set.metadata;
    for (const { metadata, spec } of set.spec.volumeClaimTemplates ?? []) {
      const name = `${metadata.name}-${pod}`;
      const labels = { ...metadata.labels, ...set.spec.selector.matchLabels };
      const draft = {
        metadata: {
          name,
          ...(namespace === undefined ? {} : { namespace }),
          labels,
          ...(metadata.annotations === undefined ? {} : { annotations: metadata.annotations }),
        },
        ...(spec === undefined ? {} : { spec }),
      };
      const about = `Claim ${name} Pod ${pod} in StatefulSet ${set.metadata.name}`;
      try {
        await client.create(resources.persistentvolumeclaims, draft);
        recorder.event({ ...set, ...KIND }, 'Normal', 'SuccessfulCreate', `create ${about} success`);
      } catch (error) {
        if (isStatus(error, 'AlreadyExists')) continue;
        const message = `create ${about} failed error: ${errorMessage(error)}`;
        recorder.event({ ...set, ...KIND }, 'Warning', 'FailedCreate', message);
        throw error;
      }
    }
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

  return { name: NAME, needs: [sets, pods, revisions], begin: () => queue.release(), idle: () => queue.idle() };
}

/** The pod template that a revision holds. */
function templateOf(history: History, name: string): PodTemplateSpec | undefined {
  const revision: ControllerRevision | undefined = [history.current, ...history.old].find(
    (r) => r.metadata.name === name,
  );
  const data = revision?.data as { spec?: { template?: PodTemplateSpec & { $patch?: string } } } | undefined;
  if (data?.spec?.template === undefined) return undefined;
  const { $patch: _, ...template } = data.spec.template;
  return template;
}
