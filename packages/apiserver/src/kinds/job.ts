import type { Job, JobSpec } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, keepsStatus, rules, setStatus } from './strategy.ts';
import { defaultTemplate, validateTemplate } from './template.ts';
import { invalid, required } from './validate/errors.ts';
import { checkLabelSelector } from './validate/meta.ts';
import { checkEnum, checkImmutable, checkNonNegative } from './validate/values.ts';

/** Defaults of a job's spec, alone or in a CronJob. */
export function defaultJobSpec(spec: JobSpec): void {
  // A job with neither runs one pod to its end; one with parallelism alone is a work queue.
  if (spec.completions === undefined && spec.parallelism === undefined) spec.completions = 1;
  spec.parallelism ??= 1;
  spec.backoffLimit ??= spec.backoffLimitPerIndex === undefined ? 6 : 2 ** 31 - 1;
  spec.completionMode ??= 'NonIndexed';
  spec.suspend ??= false;
  spec.manualSelector ??= false;
  spec.podReplacementPolicy ??= spec.podFailurePolicy ? 'Failed' : 'TerminatingOrFailed';
  spec.template = defaultTemplate(spec.template);
}

const UID_LABEL = 'batch.kubernetes.io/controller-uid';

/** A job selects its pods by its own uid, so that jobs never take each other's pods. */
function generateSelector(job: Job): void {
  if (job.spec.manualSelector === true) return;
  const { uid = '', name } = job.metadata;
  const template = job.spec.template;
  const metadata = (template.metadata ??= {});
  metadata.labels = {
    ...metadata.labels,
    [UID_LABEL]: uid,
    'batch.kubernetes.io/job-name': name,
    'controller-uid': uid,
    'job-name': name,
  };
  job.spec.selector = {
    ...job.spec.selector,
    matchLabels: { ...job.spec.selector?.matchLabels, [UID_LABEL]: uid },
  };
}

/** `field` is the path of the job's spec. */
export function validateJobSpec(field: string, spec: JobSpec): FieldError[] {
  const errors: FieldError[] = [];
  const counts = ['parallelism', 'completions', 'activeDeadlineSeconds', 'backoffLimit'] as const;
  for (const key of [...counts, 'ttlSecondsAfterFinished', 'backoffLimitPerIndex', 'maxFailedIndexes'] as const) {
    errors.push(...checkNonNegative(`${field}.${key}`, spec[key]));
  }
  errors.push(...checkEnum(`${field}.completionMode`, spec.completionMode, ['Indexed', 'NonIndexed']));
  if (spec.completionMode === 'Indexed' && spec.completions === undefined) {
    const text = 'when completion mode is Indexed';
    errors.push(required(`${field}.completions`, text));
  }
  errors.push(
    ...checkLabelSelector(`${field}.selector`, spec.selector),
    ...validateTemplate(`${field}.template`, spec.template),
  );
  if (spec.template.spec?.restartPolicy === 'Always') {
    errors.push(required(`${field}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"'));
  }
  return errors;
}

function validateUpdate({ spec: next }: Job, { spec: old }: Job): FieldError[] {
  // The pods of a job that has not started may still be steered (KEP-2926); all else stays.
  const suspended = old.suspend === true;
  const scheduling = (spec: JobSpec): unknown => {
    if (!suspended || spec.template.spec === undefined) return spec.template;
    const { nodeSelector: _n, tolerations: _t, affinity: _a, schedulingGates: _g, ...rest } = spec.template.spec;
    return { labels: null, spec: rest };
  };
  return [
    ...(old.completionMode === 'Indexed' ? [] : checkImmutable('spec.completions', next.completions, old.completions)),
    ...checkImmutable('spec.selector', next.selector, old.selector),
    ...(checkImmutable('spec.template', scheduling(next), scheduling(old)).length === 0
      ? []
      : [invalid('spec.template', next.template, 'field is immutable')]),
    ...checkImmutable('spec.completionMode', next.completionMode, old.completionMode),
    ...checkImmutable('spec.podFailurePolicy', next.podFailurePolicy, old.podFailurePolicy),
    ...checkImmutable('spec.backoffLimitPerIndex', next.backoffLimitPerIndex, old.backoffLimitPerIndex),
    ...checkImmutable('spec.managedBy', next.managedBy, old.managedBy),
    ...checkImmutable('spec.successPolicy', next.successPolicy, old.successPolicy),
  ];
}

/** batch/v1 Job. */
export const jobRules: KindRules = rules<Job>({
  ...keepsStatus(),
  hasGeneration: true,
  defaults: (job) => {
    defaultJobSpec((job.spec ??= {} as JobSpec));
    const { metadata, spec } = job;
    if (metadata.labels === undefined && spec.template.metadata?.labels) {
      metadata.labels = { ...spec.template.metadata.labels };
    }
  },
  prepareCreate: (job) => {
    setStatus(job, {});
    generateSelector(job);
  },
  validate: (job) => [
    ...(job.metadata.name.length > 63
      ? [invalid('metadata.name', job.metadata.name, 'must be no more than 63 characters')]
      : []),
    ...validateJobSpec('spec', job.spec),
  ],
  validateUpdate,
  selectableFields: { 'status.successful': (job) => String(job.status?.succeeded ?? 0) },
});
