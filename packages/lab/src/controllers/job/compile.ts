import { isPodActive, isPodReady, isPodTerminal } from '@weft/controllers';
import { type Job, type JobCondition, type JobStatus, type Pod, timestamp } from '@weft/kube';

/** What has to happen to the pods of a Job now. */
export interface JobPlan {
  /** For an indexed job the indexes of the pods to make, otherwise as many times undefined. */
  readonly create: readonly (number | undefined)[];
  readonly remove: readonly Pod[];
  readonly status: JobStatus;
  /** What to tell about the Job. */
  readonly event:
    | { readonly type: 'Normal' | 'Warning'; readonly reason: string; readonly message: string }
    | undefined;
  /** Milliseconds until the plan may be another without any change. */
  readonly again: number | undefined;
}

const INDEX_ANNOTATION = 'batch.kubernetes.io/job-completion-index';

/** First and longest delay before a failed pod is replaced. */
const BACKOFF_MS = 10_000;
const MAX_BACKOFF_MS = 600_000;

function indexOf(pod: Pod): number | undefined {
  const text = pod.metadata.labels?.[INDEX_ANNOTATION] ?? pod.metadata.annotations?.[INDEX_ANNOTATION];
  return text === undefined ? undefined : Number(text);
}

export function finished(job: Job): JobCondition | undefined {
  return job.status?.conditions?.find((c) => (c.type === 'Complete' || c.type === 'Failed') && c.status === 'True');
}

/** The next step of a Job. Pods that are gone count for what the status says of them. */
export function compileJob(job: Job, pods: readonly Pod[], now: number): JobPlan {
  const { spec } = job;
  const active = pods.filter(isPodActive);
  const indexed = spec.completionMode === 'Indexed';
  const succeededPods = pods.filter((pod) => pod.status?.phase === 'Succeeded');
  const failed = Math.max(job.status?.failed ?? 0, pods.filter((pod) => pod.status?.phase === 'Failed').length);
  const done = new Set(indexed ? [...parseIndexes(job.status?.completedIndexes), ...succeededPods.map(indexOf)] : []);
  done.delete(undefined);
  const succeeded = indexed ? done.size : Math.max(job.status?.succeeded ?? 0, succeededPods.length);
  const started = job.status?.startTime ?? (spec.suspend === true ? undefined : timestamp(now));
  const status: JobStatus = {
    ...(started === undefined ? {} : { startTime: started }),
    ...(job.status?.completionTime === undefined ? {} : { completionTime: job.status.completionTime }),
    active: active.length,
    ready: active.filter(isPodReady).length,
    succeeded,
    failed,
    terminating: pods.filter((pod) => !isPodTerminal(pod) && !isPodActive(pod)).length,
    uncountedTerminatedPods: {},
    ...(indexed && done.size > 0 ? { completedIndexes: formatIndexes(done as Set<number>) } : {}),
    ...(job.status?.conditions === undefined ? {} : { conditions: job.status.conditions }),
  };
  const nothing: JobPlan = { create: [], remove: [], status, event: undefined, again: undefined };
  if (finished(job) !== undefined || job.metadata.deletionTimestamp !== undefined) return nothing;

  const restarts = active.reduce(
    (n, pod) => n + (pod.status?.containerStatuses ?? []).reduce((m, c) => m + c.restartCount, 0),
    0,
  );
  const limit = spec.backoffLimit ?? 6;
  const tooMany =
    failed > limit || (spec.template.spec?.restartPolicy === 'OnFailure' && restarts > 0 && restarts >= limit);
  const deadline =
    spec.activeDeadlineSeconds === undefined || started === undefined
      ? undefined
      : Date.parse(started) + spec.activeDeadlineSeconds * 1000;
  const end = (type: 'Complete' | 'Failed', reason: string, message: string): JobPlan => {
    const before: JobCondition['type'] = type === 'Complete' ? 'SuccessCriteriaMet' : 'FailureTarget';
    const time = timestamp(now);
    const condition = { status: 'True', lastProbeTime: time, lastTransitionTime: time, reason, message } as const;
    return {
      create: [],
      remove: active,
      status: {
        ...status,
        active: 0,
        ready: 0,
        ...(type === 'Complete' ? { completionTime: time } : {}),
        conditions: [...(status.conditions ?? []), { type: before, ...condition }, { type, ...condition }],
      },
      event:
        type === 'Complete'
          ? { type: 'Normal', reason: 'Completed', message: 'Job completed' }
          : { type: 'Warning', reason, message },
      again: undefined,
    };
  };
  if (tooMany) return end('Failed', 'BackoffLimitExceeded', 'Job has reached the specified backoff limit');
  if (deadline !== undefined && now >= deadline) {
    return end('Failed', 'DeadlineExceeded', 'Job was active longer than specified deadline');
  }
  const complete =
    spec.completions === undefined ? succeeded > 0 && active.length === 0 : succeeded >= spec.completions;
  if (complete) {
    return end('Complete', 'CompletionsReached', 'Reached expected number of succeeded pods');
  }
  if (spec.suspend === true) return suspended(job, nothing, active, now);
  const resumed = resumedConditions(status.conditions, now);
  const base = { ...nothing, status: { ...status, ...(resumed === undefined ? {} : { conditions: resumed }) } };

  const parallelism = spec.parallelism ?? 1;
  const wanted =
    spec.completions === undefined
      ? succeeded > 0
        ? active.length
        : parallelism
      : Math.min(parallelism, spec.completions - succeeded);
  const until = deadline === undefined ? undefined : deadline - now;
  if (active.length > wanted) {
    const young = [...active].sort((a, b) => created(b) - created(a));
    return { ...base, remove: young.slice(0, active.length - wanted), again: until };
  }
  const wait = backoff(pods, failed, now);
  if (wait > 0) return { ...base, again: until === undefined ? wait : Math.min(wait, until) };
  const missing = wanted - active.length;
  const create = indexed
    ? freeIndexes(spec.completions ?? 0, done as Set<number>, active).slice(0, missing)
    : Array.from({ length: missing }, () => undefined);
  return { ...base, create, again: until };
}

function created(pod: Pod): number {
  return Date.parse(pod.metadata.creationTimestamp ?? '') || 0;
}

/** Milliseconds to wait after the last failure: 10 s, doubling with every further one. */
function backoff(pods: readonly Pod[], failures: number, now: number): number {
  const ends = pods
    .filter((pod) => pod.status?.phase === 'Failed')
    .map((pod) => {
      const times = (pod.status?.conditions ?? []).map((c) => Date.parse(c.lastTransitionTime ?? '') || 0);
      return Math.max(created(pod), ...times);
    });
  if (ends.length === 0 || failures === 0) return 0;
  const delay = Math.min(MAX_BACKOFF_MS, BACKOFF_MS * 2 ** Math.min(failures - 1, 10));
  return Math.max(0, Math.max(...ends) + delay - now);
}

function suspended(job: Job, nothing: JobPlan, active: readonly Pod[], now: number): JobPlan {
  const old = job.status?.conditions?.find((c) => c.type === 'Suspended');
  if (old?.status === 'True') return { ...nothing, remove: active };
  const time = timestamp(now);
  const condition: JobCondition = {
    type: 'Suspended',
    status: 'True',
    reason: 'JobSuspended',
    message: 'Job suspended',
    lastProbeTime: time,
    lastTransitionTime: time,
  };
  const { startTime: _, ...status } = nothing.status;
  const conditions = [...(status.conditions ?? []).filter((c) => c.type !== 'Suspended'), condition];
  const event = { type: 'Normal', reason: 'Suspended', message: 'Job suspended' } as const;
  return { ...nothing, remove: active, status: { ...status, conditions }, event };
}

function resumedConditions(conditions: readonly JobCondition[] | undefined, now: number): JobCondition[] | undefined {
  const old = conditions?.find((c) => c.type === 'Suspended' && c.status === 'True');
  if (conditions === undefined || old === undefined) return undefined;
  const time = timestamp(now);
  const condition: JobCondition = {
    ...old,
    status: 'False',
    reason: 'JobResumed',
    message: 'Job resumed',
    lastProbeTime: time,
    lastTransitionTime: time,
  };
  return conditions.map((c) => (c === old ? condition : c));
}

function freeIndexes(completions: number, done: ReadonlySet<number>, active: readonly Pod[]): number[] {
  const busy = new Set(active.map(indexOf));
  const out: number[] = [];
  for (let i = 0; i < completions; i++) if (!done.has(i) && !busy.has(i)) out.push(i);
  return out;
}

/** `1,3-5` → 1, 3, 4, 5. */
export function parseIndexes(text: string | undefined): number[] {
  return (text ?? '').split(',').flatMap((part) => {
    const [first, last = first] = part.split('-').map(Number);
    if (part === '' || first === undefined || last === undefined) return [];
    return Array.from({ length: last - first + 1 }, (_, i) => first + i);
  });
}

/** The inverse of parseIndexes; runs of three and more are written as a range, as Kubernetes does. */
export function formatIndexes(indexes: ReadonlySet<number>): string {
  const sorted = [...indexes].sort((a, b) => a - b);
  const parts: string[] = [];
  for (let i = 0; i < sorted.length; ) {
    let end = i;
    while (sorted[end + 1] === (sorted[end] as number) + 1) end++;
    if (end - i >= 2) parts.push(`${sorted[i]}-${sorted[end]}`);
    else parts.push(...sorted.slice(i, end + 1).map(String));
    i = end + 1;
  }
  return parts.join(',');
}

/** The label and annotation that name the index of a pod, and its host name. */
export const completionIndexKey = INDEX_ANNOTATION;
