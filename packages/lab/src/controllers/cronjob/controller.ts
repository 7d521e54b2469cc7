import {
  type Again,
  type Controller,
  type ControllerContext,
  eventRecorder,
  LOOK_AGAIN_MS,
  OwnWrites,
  WorkQueue,
} from '@weft/controllers';
import {
  controllerRef,
  type CronJob,
  type CronJobStatus,
  isStatus,
  type Job,
  objectKey,
  referenceTo,
  resources,
  timestamp,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { followOwned } from '../common/claim.ts';
import { ignoreGone } from '../common/gone.ts';
import { writeStatus } from '../common/status.ts';
import { finished } from '../job/compile.ts';
import { dueTimes, nextTime, parseSchedule, type Schedule } from './schedule.ts';

const NAME = 'cronjob-controller';
const KIND = { apiVersion: 'batch/v1', kind: 'CronJob' };
const SCHEDULED_AT = 'batch.kubernetes.io/cronjob-scheduled-timestamp';

/** Makes Jobs by the clock. */
export function cronJobController(context: ControllerContext): Controller {
  const { client, informers } = context;
  const recorder = eventRecorder(context, NAME);
  const jobs = informers.owned(resources.jobs);
  const crons = informers.index(resources.cronjobs, 'namespace', (cron) => cron.metadata.namespace);
  const writes = new OwnWrites();
  const queue = new WorkQueue({ ...context, name: NAME, concurrency: 2 }, reconcile);
  const say = (cron: CronJob, type: 'Normal' | 'Warning', reason: string, message: string): void =>
    recorder.event({ ...cron, ...KIND }, type, reason, message);

  async function reconcile(key: string): Promise<Again> {
    const cron = crons.get(key);
    if (cron === undefined) {
      writes.forget(key);
      return undefined;
    }
    if (!writes.seen(key)) return LOOK_AGAIN_MS;
    const own = jobs.byIndex('owner', cron.metadata.uid ?? '');
    const now = Date.now();
    const running = own.filter((job) => finished(job) === undefined);
    await trim(key, cron, own);
    const status: CronJobStatus = { ...cron.status, active: running.map(reference) };
    const ends = own.flatMap((job) => (job.status?.completionTime === undefined ? [] : [job.status.completionTime]));
    const lastSuccess = ends.sort().at(-1);
    if (lastSuccess !== undefined) status.lastSuccessfulTime = lastSuccess;
    let schedule: Schedule;
    try {
      schedule = parseSchedule(cron.spec.schedule);
    } catch (error) {
      const message = `unparseable schedule: ${cron.spec.schedule} : ${errorMessage(error)}`;
      say(cron, 'Warning', 'UnparseableSchedule', message);
      return undefined;
    }
    if (cron.metadata.deletionTimestamp === undefined && cron.spec.suspend !== true) {
      await start(key, cron, schedule, running, status, now);
    }
    await writeStatus(client, resources.cronjobs, crons, writes, key, cron, status);
    const next = nextTime(schedule, now, cron.spec.timeZone);
    return next === undefined || cron.spec.suspend === true ? undefined : next - now + 50;
  }

  /** Starts the run that is due, if any; notes it in `status`. */
  async function start(
    key: string,
    cron: CronJob,
    schedule: Schedule,
    running: readonly Job[],
    status: CronJobStatus,
    now: number,
  ): Promise<void> {
    const { startingDeadlineSeconds, concurrencyPolicy, timeZone } = cron.spec;
    let since = Date.parse(cron.status?.lastScheduleTime ?? cron.metadata.creationTimestamp ?? '') || now;
    if (startingDeadlineSeconds !== undefined) since = Math.max(since, now - startingDeadlineSeconds * 1000);
    const { last, missed } = dueTimes(schedule, since, now, timeZone);
    if (last === undefined) return;
    if (missed > 100) {
      const message = 'too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew';
      say(cron, 'Warning', 'TooManyMissedTimes', message);
    }
    if (concurrencyPolicy === 'Forbid' && running.length > 0) {
      say(
        cron,
        'Normal',
        'JobAlreadyActive',
        'Not starting job because prior execution is running and concurrency policy is Forbid',
      );
      return;
    }
    if (concurrencyPolicy === 'Replace') {
      for (const job of running) await remove(key, cron, job);
      status.active = [];
    }
    const job = await create(key, cron, last);
    if (job !== undefined) status.active = [...(status.active ?? []), reference(job)];
    status.lastScheduleTime = timestamp(last);
  }

  async function create(key: string, cron: CronJob, at: number): Promise<Job | undefined> {
    const { metadata = {}, spec } = cron.spec.jobTemplate;
    const { namespace } = cron.metadata;
    // The name is made from the time, so that one run is started once, whatever happens in between.
    const name = `${cron.metadata.name}-${Math.floor(at / 60_000)}`;
    if (spec === undefined) return undefined;
    try {
      const job = await client.create(resources.jobs, {
        metadata: {
          name,
          ...(namespace === undefined ? {} : { namespace }),
          ...(metadata.labels === undefined ? {} : { labels: metadata.labels }),
          annotations: { ...metadata.annotations, [SCHEDULED_AT]: timestamp(at) },
          ownerReferences: [controllerRef(cron, KIND)],
        },
        spec,
      });
      writes.wrote(key, jobs, job);
      say(cron, 'Normal', 'SuccessfulCreate', `Created job ${name}`);
      return job;
    } catch (error) {
      if (isStatus(error, 'AlreadyExists')) return undefined;
      say(cron, 'Warning', 'FailedCreate', `Error creating job: ${errorMessage(error)}`);
      throw error;
    }
  }

  /** Removes the oldest finished Jobs beyond the limits. */
  async function trim(key: string, cron: CronJob, own: readonly Job[]): Promise<void> {
    for (const [type, limit] of [
      ['Complete', cron.spec.successfulJobsHistoryLimit ?? 3],
      ['Failed', cron.spec.failedJobsHistoryLimit ?? 1],
    ] as const) {
      const ended = own
        .filter((job) => finished(job)?.type === type && job.metadata.deletionTimestamp === undefined)
        .sort((a, b) => ((a.status?.startTime ?? '') < (b.status?.startTime ?? '') ? -1 : 1));
      for (const job of ended.slice(0, Math.max(0, ended.length - limit))) await remove(key, cron, job);
    }
  }

  async function remove(key: string, cron: CronJob, job: Job): Promise<void> {
    const { namespace, name, uid } = job.metadata;
    const options = { propagationPolicy: 'Background', ...(uid === undefined ? {} : { uid }) } as const;
    await ignoreGone(() => client.delete(resources.jobs, namespace, name, options));
    writes.deleted(key, jobs, objectKey(job), uid);
    say(cron, 'Normal', 'SuccessfulDelete', `Deleted job ${name}`);
  }

  crons.on({
    add: (cron) => queue.add(objectKey(cron)),
    update: (_, after) => queue.add(objectKey(after)),
    delete: (cron) => queue.add(objectKey(cron)),
  });
  followOwned(
    jobs,
    crons,
    KIND,
    () => undefined,
    (key) => queue.add(key),
  );

  return { name: NAME, needs: [crons, jobs], begin: () => queue.release(), idle: () => queue.idle() };
}

function reference(job: Job): NonNullable<CronJobStatus['active']>[number] {
  const { resourceVersion: _, ...rest } = referenceTo({ ...job, apiVersion: 'batch/v1', kind: 'Job' });
  return rest;
}
