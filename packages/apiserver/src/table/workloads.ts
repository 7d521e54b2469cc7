import type { CronJob, DaemonSet, Deployment, Job, KubeObject, ReplicaSet, Scale, StatefulSet } from '@weft/kube';
import { ageOf, humanDuration } from './age.ts';
import {
  age,
  integer,
  labelsText,
  name,
  orNone,
  part,
  type Printer,
  printer,
  selectorText,
  templateParts,
  wide,
} from './printer.ts';

export const deployments = printer<Deployment>(
  name,
  part('Ready', (d) => `${d.status?.readyReplicas ?? 0}/${d.spec.replicas ?? 0}`, {}, 'Ready pods of wanted pods'),
  part('Up-to-date', (d) => d.status?.updatedReplicas ?? 0, integer, 'Pods made from the current template'),
  part('Available', (d) => d.status?.availableReplicas ?? 0, integer, 'Pods ready for at least minReadySeconds'),
  age,
  ...templateParts<Deployment>((d) => d.spec.template?.spec),
  part('Selector', (d) => selectorText(d.spec.selector), wide, 'Label selector of the pods'),
);

export const replicaSets = printer<ReplicaSet>(
  name,
  part('Desired', (r) => r.spec.replicas ?? 0, integer, 'Pods wanted'),
  part('Current', (r) => r.status?.replicas ?? 0, integer, 'Pods that exist'),
  part('Ready', (r) => r.status?.readyReplicas ?? 0, integer, 'Pods that are ready'),
  age,
  ...templateParts<ReplicaSet>((r) => r.spec.template?.spec),
  part('Selector', (r) => selectorText(r.spec.selector), wide, 'Label selector of the pods'),
);

export interface ReplicationController extends KubeObject {
  spec: {
    replicas?: number;
    minReadySeconds?: number;
    selector?: Record<string, string>;
    template?: ReplicaSet['spec']['template'];
  };
  status?: ReplicaSet['status'];
}

export const replicationControllers = printer<ReplicationController>(
  name,
  part('Desired', (r) => r.spec.replicas ?? 0, integer, 'Pods wanted'),
  part('Current', (r) => r.status?.replicas ?? 0, integer, 'Pods that exist'),
  part('Ready', (r) => r.status?.readyReplicas ?? 0, integer, 'Pods that are ready'),
  age,
  ...templateParts<ReplicationController>((r) => r.spec.template?.spec),
  part('Selector', (r) => labelsText(r.spec.selector), wide, 'Labels of the pods'),
);

export const daemonSets = printer<DaemonSet>(
  name,
  part('Desired', (d) => d.status?.desiredNumberScheduled ?? 0, integer, 'Nodes that should run the pod'),
  part('Current', (d) => d.status?.currentNumberScheduled ?? 0, integer, 'Nodes that run the pod'),
  part('Ready', (d) => d.status?.numberReady ?? 0, integer, 'Nodes whose pod is ready'),
  part('Up-to-date', (d) => d.status?.updatedNumberScheduled ?? 0, integer, 'Nodes with the current template'),
  part('Available', (d) => d.status?.numberAvailable ?? 0, integer, 'Nodes whose pod is available'),
  part('Node Selector', (d) => labelsText(d.spec.template?.spec?.nodeSelector), {}, 'Labels a node must have'),
  age,
  ...templateParts<DaemonSet>((d) => d.spec.template?.spec),
  part('Selector', (d) => selectorText(d.spec.selector), wide, 'Label selector of the pods'),
);

export const statefulSets = printer<StatefulSet>(
  name,
  part('Ready', (s) => `${s.status?.readyReplicas ?? 0}/${s.spec.replicas ?? 0}`, {}, 'Ready pods of wanted pods'),
  age,
  ...templateParts<StatefulSet>((s) => s.spec.template?.spec),
);

function jobStatus(job: Job): string {
  const has = (type: string): boolean =>
    job.status?.conditions?.some((c) => c.type === type && c.status === 'True') ?? false;
  if (has('Complete')) return 'Complete';
  if (has('Failed')) return 'Failed';
  if (job.metadata.deletionTimestamp) return 'Terminating';
  for (const type of ['Suspended', 'FailureTarget', 'SuccessCriteriaMet']) if (has(type)) return type;
  return 'Running';
}

function jobCompletions(job: Job): string {
  const done = job.status?.succeeded ?? 0;
  if (job.spec.completions !== undefined) return `${done}/${job.spec.completions}`;
  const parallelism = job.spec.parallelism ?? 0;
  return parallelism > 1 ? `${done}/1 of ${parallelism}` : `${done}/1`;
}

function jobDuration(job: Job, now: Date): string {
  const start = Date.parse(job.status?.startTime ?? '');
  if (Number.isNaN(start)) return '';
  const end = Date.parse(job.status?.completionTime ?? '');
  return humanDuration((Number.isNaN(end) ? now.getTime() : end) - start);
}

export const jobs = printer<Job>(
  name,
  part('Status', jobStatus, {}, 'Where the job stands'),
  part('Completions', jobCompletions, {}, 'Pods that succeeded, of those wanted'),
  part('Duration', jobDuration, {}, 'Time the job took so far'),
  age,
  ...templateParts<Job>((j) => j.spec.template?.spec),
  part('Selector', (j) => selectorText(j.spec.selector), wide, 'Label selector of the pods'),
);

const boolText = (value: boolean | undefined): string => (value === undefined ? '<unset>' : value ? 'True' : 'False');

export const cronJobs = printer<CronJob>(
  name,
  part('Schedule', (c) => c.spec.schedule, {}, 'When it runs, in cron form'),
  part('Timezone', (c) => orNone(c.spec.timeZone), {}, 'Time zone of the schedule'),
  part('Suspend', (c) => boolText(c.spec.suspend), {}, 'True when no more jobs are started'),
  part('Active', (c) => c.status?.active?.length ?? 0, integer, 'Jobs that run now'),
  part(
    'Last Schedule',
    (c, now) => (c.status?.lastScheduleTime ? ageOf(c.status.lastScheduleTime, now) : '<none>'),
    {},
    'Time since the last job was started',
  ),
  age,
  ...templateParts<CronJob>((c) => c.spec.jobTemplate?.spec?.template?.spec),
  part('Selector', (c) => selectorText(c.spec.jobTemplate?.spec?.selector), wide, 'Label selector of the pods'),
);

interface ControllerRevision extends KubeObject {
  revision?: number;
}

function controllerName(obj: KubeObject): string {
  const owner = obj.metadata.ownerReferences?.find((r) => r.controller === true);
  if (owner === undefined) return '<none>';
  const slash = owner.apiVersion.indexOf('/');
  const group = slash < 0 ? '' : `.${owner.apiVersion.slice(0, slash)}`;
  return `${owner.kind.toLowerCase()}${group}/${owner.name}`;
}

export const controllerRevisions: Printer<ControllerRevision> = printer<ControllerRevision>(
  name,
  part('Controller', controllerName, {}, 'Object the revision belongs to'),
  part('Revision', (c) => c.revision ?? 0, {}, 'Number of the revision'),
  age,
);

interface PodTemplate extends KubeObject {
  template?: ReplicaSet['spec']['template'];
}

export const podTemplates = printer<PodTemplate>(
  name,
  ...templateParts<PodTemplate>((t) => t.template?.spec).map((p) => ({ ...p, column: { ...p.column, priority: 0 } })),
  part('Pod Labels', (t) => labelsText(t.template?.metadata?.labels), {}, 'Labels of the pods'),
);

export const scales = printer<Scale & KubeObject>(
  name,
  part('Desired', (s) => s.spec?.replicas ?? 0, integer, 'Replicas that are wanted'),
  part('Available', (s) => s.status?.replicas ?? 0, integer, 'Replicas that there are'),
  age,
);
