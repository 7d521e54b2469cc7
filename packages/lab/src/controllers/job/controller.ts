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
import { type Job, objectKey, resources } from '@weft/kube';
import { claim, followOwned } from '../common/claim.ts';
import { ignoreGone } from '../common/gone.ts';
import { isTerminating, PodControl, slowStart } from '../common/pod-control.ts';
import { writeStatus } from '../common/status.ts';
import { compileJob, completionIndexKey, finished } from './compile.ts';

const NAME = 'job-controller';
const KIND = { apiVersion: 'batch/v1', kind: 'Job' };

/** Runs the pods of Jobs to their end, and removes finished Jobs when their time is up. */
export function jobController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const pods = podInformer(informers);
  const jobs = informers.index(resources.jobs, 'namespace', (job) => job.metadata.namespace);
  const writes = new OwnWrites();
  const control = new PodControl({ client, pods, recorder, writes, kind: KIND });
  const claims = { client, type: resources.pods, informer: pods, writes, kind: KIND };
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 4 }, reconcile);

  async function reconcile(key: string): Promise<Again> {
    const job = jobs.get(key);
    if (job === undefined) {
      writes.forget(key);
      return undefined;
    }
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    if (finished(job) !== undefined) return expire(job);
    const own = await claim(claims, key, job, job.spec.selector ?? { matchLabels: {} });
    const plan = compileJob(job, own, Date.now());
    let failure: unknown;
    try {
      await slowStart(plan.create, (index) => create(key, job, index));
    } catch (error) {
      failure = error;
    }
    const results = await Promise.allSettled(plan.remove.map((pod) => control.remove(key, job, pod)));
    for (const result of results) if (result.status === 'rejected') failure ??= result.reason;
    await writeStatus(client, resources.jobs, jobs, writes, key, job, plan.status);
    if (plan.event !== undefined) {
      recorder.event({ ...job, ...KIND }, plan.event.type, plan.event.reason, plan.event.message);
    }
    if (failure !== undefined && !isTerminating(failure)) throw failure;
    return plan.again;
  }

  function create(key: string, job: Job, index: number | undefined): Promise<unknown> {
    const { template } = job.spec;
    if (index === undefined) return control.create(key, job, { template });
    const mark = { [completionIndexKey]: String(index) };
    const env = { name: 'JOB_COMPLETION_INDEX', value: String(index) };
    const containers = (template.spec?.containers ?? []).map((c) => ({
      ...c,
      env: [...(c.env ?? []).filter((e) => e.name !== env.name), env],
    }));
    return control.create(key, job, {
      stem: `${job.metadata.name}-${index}-`,
      template,
      labels: mark,
      annotations: mark,
      spec: { containers, hostname: `${job.metadata.name}-${index}` },
    });
  }

  /** `spec.ttlSecondsAfterFinished` (KEP-592). */
  async function expire(job: Job): Promise<Again> {
    const ttl = job.spec.ttlSecondsAfterFinished;
    if (ttl === undefined || job.metadata.deletionTimestamp !== undefined) return undefined;
    const left = Date.parse(finished(job)?.lastTransitionTime ?? '') + ttl * 1000 - Date.now();
    if (left > 0) return left;
    const { namespace, name, uid } = job.metadata;
    const options = { propagationPolicy: 'Foreground', ...(uid === undefined ? {} : { uid }) } as const;
    await ignoreGone(() => client.delete(resources.jobs, namespace, name, options));
    return undefined;
  }

  jobs.on({
    add: (job) => queue.add(objectKey(job)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (job) => queue.add(objectKey(job)),
  });
  followOwned(
    pods,
    jobs,
    KIND,
    (job) => job.spec.selector,
    (key) => queue.add(key),
  );

  return { name: NAME, needs: [jobs, pods], begin: () => queue.release(), idle: () => queue.idle() };
}
