import type { CronJob, DaemonSet, Deployment, Job, KubeObject, StatefulSet } from '@weft/kube';
import { describe, expect, it } from 'vitest';
import { type Body, Steps, template } from './helpers.ts';

const steps = new Steps();
const selector = { matchLabels: { app: 'web' } };

const body = (spec: Record<string, unknown> = {}): Body => ({
  metadata: { name: 'web', namespace: 'default' },
  spec: { selector, template: template('web'), ...spec },
});

function accepted<T extends KubeObject>(id: string, object: Body): T {
  const { obj, errors } = steps.create<T>(id, object);
  expect(errors).toEqual([]);
  return obj;
}

describe('Deployment', () => {
  const id = 'apps/deployments';

  it('fills what a client leaves out', () => {
    const { spec, status } = accepted<Deployment>(id, body());
    const { template: pods, ...rest } = spec;
    expect(rest).toEqual({
      progressDeadlineSeconds: 600,
      replicas: 1,
      revisionHistoryLimit: 10,
      selector,
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
    });
    expect(pods.spec).toMatchObject({
      restartPolicy: 'Always',
      dnsPolicy: 'ClusterFirst',
      terminationGracePeriodSeconds: 30,
      securityContext: {},
    });
    // What admission and the pod alone get is not in the template.
    expect(pods.spec).not.toHaveProperty('tolerations');
    expect(pods.spec).not.toHaveProperty('enableServiceLinks');
    expect(status).toEqual({});
    expect(accepted<Deployment>(id, body({ strategy: { type: 'Recreate' } })).spec.strategy).toEqual({
      type: 'Recreate',
    });
  });

  it.each<[string, Body, string[]]>([
    [
      'other labels',
      body({ template: template('api') }),
      [
        'spec.template.metadata.labels: Invalid value: map[string]string{"app":"api"}: `selector` does not match template `labels`',
      ],
    ],
    [
      'no selector',
      body({ selector: undefined }),
      [
        'spec.selector: Required value',
        'spec.template.metadata.labels: Invalid value: map[string]string{"app":"web"}: `selector` does not match template `labels`',
      ],
    ],
    [
      'empty selector',
      body({ selector: {} }),
      ['spec.selector: Invalid value: map[string]string{}: empty selector is invalid for deployment'],
    ],
    ['replicas', body({ replicas: -1 }), ['spec.replicas: Invalid value: -1: must be greater than or equal to 0']],
    [
      'restart policy',
      body({ template: template('web', { restartPolicy: 'Never' }) }),
      ['spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"'],
    ],
    [
      'strategy',
      body({ strategy: { type: 'Sudden' } }),
      ['spec.strategy.type: Unsupported value: "Sudden": supported values: "Recreate", "RollingUpdate"'],
    ],
    [
      'recreate with limits',
      body({ strategy: { type: 'Recreate', rollingUpdate: { maxSurge: 1 } } }),
      ["spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"],
    ],
    [
      'no room to roll',
      body({ strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: 0 } } }),
      ['spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0'],
    ],
    [
      'deadline',
      body({ progressDeadlineSeconds: 5, minReadySeconds: 5 }),
      ['spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds'],
    ],
    [
      'no image',
      body({ template: template('web', { containers: [{ name: 'c' }] }) }),
      ['spec.template.spec.containers[0].image: Required value'],
    ],
  ])('%s', (_what, object, messages) => {
    expect(steps.create(id, object).errors).toEqual(messages);
  });

  it('keeps its selector', () => {
    const old = accepted<Deployment>(id, body());
    const other = { matchLabels: { app: 'web', x: 'y' } };
    const changed = steps.change<Deployment>(id, old, (d) => {
      d.spec.selector = other;
      d.spec.template.metadata = { labels: other.matchLabels };
    });
    expect(changed.errors).toEqual([
      'spec.selector: Invalid value: {"matchLabels":{"app":"web","x":"y"}}: field is immutable',
    ]);
    expect(steps.change<Deployment>(id, old, (d) => Object.assign(d.spec, { replicas: 5 })).errors).toEqual([]);
  });

  it('counts generations', () => {
    expect(steps.strategy(id)).toMatchObject({ hasGeneration: true, statusSubresource: true });
  });
});

describe('DaemonSet and StatefulSet', () => {
  it('roll by default', () => {
    expect(accepted<DaemonSet>('apps/daemonsets', body()).spec).toMatchObject({
      revisionHistoryLimit: 10,
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 0, maxUnavailable: 1 } },
    });
    expect(accepted<StatefulSet>('apps/statefulsets', body({ serviceName: 'web' })).spec).toMatchObject({
      persistentVolumeClaimRetentionPolicy: { whenDeleted: 'Retain', whenScaled: 'Retain' },
      podManagementPolicy: 'OrderedReady',
      replicas: 1,
      updateStrategy: { type: 'RollingUpdate', rollingUpdate: { partition: 0 } },
    });
  });

  it('need room to roll', () => {
    const updateStrategy = { rollingUpdate: { maxUnavailable: 0 } };
    expect(steps.create('apps/daemonsets', body({ updateStrategy })).errors).toEqual([
      'spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0',
    ]);
  });

  it('let claims of a StatefulSet be mounted', () => {
    const mounts = { containers: [{ name: 'c', image: 'x', volumeMounts: [{ name: 'data', mountPath: '/d' }] }] };
    const claims = [
      {
        metadata: { name: 'data' },
        spec: { accessModes: ['ReadWriteOnce'], resources: { requests: { storage: '1Gi' } } },
      },
    ];
    accepted<StatefulSet>(
      'apps/statefulsets',
      body({ template: template('web', mounts), volumeClaimTemplates: claims }),
    );
    expect(steps.create('apps/statefulsets', body({ template: template('web', mounts) })).errors).toEqual([
      'spec.template.spec.containers[0].volumeMounts[0].name: Not found: "data"',
    ]);
  });

  it('let only some of a StatefulSet change', () => {
    const old = accepted<StatefulSet>('apps/statefulsets', body());
    expect(
      steps.change<StatefulSet>('apps/statefulsets', old, (s) => Object.assign(s.spec, { replicas: 4 })).errors,
    ).toEqual([]);
    expect(
      steps.change<StatefulSet>('apps/statefulsets', old, (s) => Object.assign(s.spec, { serviceName: 'other' }))
        .errors,
    ).toEqual([
      "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    ]);
  });
});

describe('Job and CronJob', () => {
  const job = (
    spec: Record<string, unknown> = {},
    podSpec: Record<string, unknown> = { restartPolicy: 'Never' },
  ): Body => ({
    metadata: { name: 'j', uid: 'u-1' },
    spec: { template: { spec: { containers: [{ name: 'c', image: 'x' }], ...podSpec } }, ...spec },
  });

  it('select their own pods', () => {
    const { spec } = accepted<Job>('batch/jobs', job());
    expect(spec).toMatchObject({
      backoffLimit: 6,
      completionMode: 'NonIndexed',
      completions: 1,
      parallelism: 1,
      suspend: false,
      selector: { matchLabels: { 'batch.kubernetes.io/controller-uid': 'u-1' } },
    });
    expect(spec.template.metadata?.labels).toEqual({
      'batch.kubernetes.io/controller-uid': 'u-1',
      'batch.kubernetes.io/job-name': 'j',
      'controller-uid': 'u-1',
      'job-name': 'j',
    });
    expect(accepted<Job>('batch/jobs', job({ parallelism: 3 })).spec.completions).toBeUndefined();
  });

  it('must end', () => {
    expect(steps.create('batch/jobs', job({}, {})).errors).toEqual([
      'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"',
    ]);
  });

  it('keep their template', () => {
    const old = accepted<Job>('batch/jobs', job());
    const [text] = steps.change<Job>('batch/jobs', old, (j) =>
      Object.assign(j.spec.template.spec?.containers[0] ?? {}, { image: 'y' }),
    ).errors;
    expect(text).toMatch(/^spec\.template: Invalid value: .*: field is immutable$/);
    expect(steps.change<Job>('batch/jobs', old, (j) => Object.assign(j.spec, { parallelism: 2 })).errors).toEqual([]);
  });

  it('read schedules', () => {
    const cron = (schedule: unknown): Body => ({
      metadata: { name: 'c' },
      spec: { schedule, jobTemplate: { spec: job().spec } },
    });
    expect(accepted<CronJob>('batch/cronjobs', cron('*/5 1,2 * jan-dec 0')).spec).toMatchObject({
      concurrencyPolicy: 'Allow',
      failedJobsHistoryLimit: 1,
      successfulJobsHistoryLimit: 3,
      suspend: false,
    });
    accepted('batch/cronjobs', cron('@hourly'));
    expect(steps.create('batch/cronjobs', cron('soon')).errors).toEqual([
      'spec.schedule: Invalid value: "soon": expected exactly 5 fields, found 1: [soon]',
    ]);
    expect(steps.create('batch/cronjobs', cron(undefined)).errors).toEqual(['spec.schedule: Required value']);
  });
});
