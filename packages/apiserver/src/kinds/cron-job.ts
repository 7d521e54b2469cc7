import type { CronJob, JobSpec } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { defaultJobSpec, validateJobSpec } from './job.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { invalid, required } from './validate/errors.ts';
import { checkEnum, checkNonNegative } from './validate/values.ts';

/** Job names get eleven characters more, and must fit in a label. */
const MAX_NAME = 52;
const DESCRIPTORS = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every .+)$/;

function defaults(cron: CronJob): void {
  const spec = (cron.spec ??= {} as CronJob['spec']);
  spec.concurrencyPolicy ||= 'Allow';
  spec.suspend ??= false;
  spec.successfulJobsHistoryLimit ??= 3;
  spec.failedJobsHistoryLimit ??= 1;
  defaultJobSpec(((spec.jobTemplate ??= {}).spec ??= {} as JobSpec));
}

function checkSchedule(schedule: string | undefined): FieldError[] {
  if (!schedule) return [required('spec.schedule')];
  if (/TZ=/.test(schedule)) {
    return [invalid('spec.schedule', schedule, 'cannot use TZ or CRON_TZ in schedule, use timeZone field instead')];
  }
  if (DESCRIPTORS.test(schedule)) return [];
  const fields = schedule.trim().split(/\s+/);
  if (fields.length !== 5) {
    const text = `expected exactly 5 fields, found ${fields.length}: [${fields.join(' ')}]`;
    return [invalid('spec.schedule', schedule, text)];
  }
  const bad = fields.find((field) => !/^[0-9A-Za-z*/,?-]+$/.test(field));
  return bad === undefined ? [] : [invalid('spec.schedule', schedule, `failed to parse int from ${bad}`)];
}

function validate(cron: CronJob): FieldError[] {
  const { spec, metadata } = cron;
  const { name } = metadata;
  return [
    ...(name.length > MAX_NAME ? [invalid('metadata.name', name, `must be no more than ${MAX_NAME} characters`)] : []),
    ...checkSchedule(spec.schedule),
    ...checkNonNegative('spec.startingDeadlineSeconds', spec.startingDeadlineSeconds),
    ...checkEnum('spec.concurrencyPolicy', spec.concurrencyPolicy, ['Allow', 'Forbid', 'Replace']),
    ...checkNonNegative('spec.successfulJobsHistoryLimit', spec.successfulJobsHistoryLimit),
    ...checkNonNegative('spec.failedJobsHistoryLimit', spec.failedJobsHistoryLimit),
    ...validateJobSpec('spec.jobTemplate.spec', spec.jobTemplate.spec as JobSpec),
  ];
}

/** batch/v1 CronJob. */
export const cronJobRules: KindRules = rules<CronJob>({
  ...keepsStatus(() => ({})),
  hasGeneration: true,
  defaults,
  validate,
});
