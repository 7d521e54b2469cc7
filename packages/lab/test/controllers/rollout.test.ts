import type { Deployment, Pod, ReplicaSet } from '@weft/kube';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { scaledValue } from '../../src/controllers/common/int-or-percent.ts';
import { safeEncode, sameTemplate, templateHash } from '../../src/controllers/common/template.ts';
import { compileDeployment, type DeploymentPlan } from '../../src/controllers/deployment/compile.ts';
import { rollingLimits } from '../../src/controllers/deployment/scaling.ts';

const NOW = Date.parse('2026-01-01T00:00:00Z');

function deployment(spec: Partial<Deployment['spec']> = {}, version = 1): Deployment {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'd', generation: 1 },
    spec: {
      replicas: 3,
      selector: { matchLabels: { app: 'web' } },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
      template: {
        metadata: { labels: { app: 'web' } },
        spec: { containers: [{ name: 'c', image: `nginx:${version}` }] },
      },
      progressDeadlineSeconds: 600,
      revisionHistoryLimit: 10,
      ...spec,
    },
  };
}

/** ReplicaSets as the API server and their controller would have them. */
class World {
  sets: ReplicaSet[] = [];
  deployment: Deployment;
  #uid = 0;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  plan(pods: readonly Pod[] = []): DeploymentPlan {
    return compileDeployment({ deployment: this.deployment, sets: this.sets, podsOf: () => pods, now: NOW });
  }

  apply(plan: DeploymentPlan): void {
    for (const { set, replicas, annotations } of plan.change) {
      const i = this.sets.indexOf(set);
      this.sets[i] = {
        ...set,
        metadata: { ...set.metadata, ...(annotations === undefined ? {} : { annotations: { ...annotations } }) },
        spec: { ...set.spec, ...(replicas === undefined ? {} : { replicas }) },
      };
    }
    this.sets = this.sets.filter((set) => !plan.remove.some((r) => r.metadata.uid === set.metadata.uid));
    if (plan.create !== undefined) {
      const { metadata, spec } = plan.create;
      const n = this.#uid++;
      const creationTimestamp = new Date(NOW + n * 1000).toISOString();
      this.sets.push({
        metadata: { ...metadata, name: metadata.name ?? '', uid: `rs${n}`, creationTimestamp, generation: 1 },
        spec,
        status: { replicas: 0, observedGeneration: 1 },
      });
    }
    const annotations = { ...this.deployment.metadata.annotations };
    if (plan.revision !== undefined) annotations['deployment.kubernetes.io/revision'] = String(plan.revision);
    this.deployment = {
      ...this.deployment,
      metadata: { ...this.deployment.metadata, annotations },
      status: plan.status,
    };
  }

  /** Pods follow their sets; of the new ones as many become available as `available` says. */
  settle(available: (set: ReplicaSet, replicas: number) => number): void {
    this.sets = this.sets.map((set) => {
      const replicas = set.spec.replicas ?? 1;
      const n = Math.min(replicas, available(set, replicas));
      return { ...set, status: { replicas, readyReplicas: n, availableReplicas: n, observedGeneration: 1 } };
    });
  }

  get total(): number {
    return this.sets.reduce((n, s) => n + (s.spec.replicas ?? 0), 0);
  }

  get available(): number {
    return this.sets.reduce((n, s) => n + Math.min(s.spec.replicas ?? 0, s.status?.availableReplicas ?? 0), 0);
  }
}

const limit = fc.oneof(
  fc.nat(5),
  fc.integer({ min: 0, max: 100 }).map((n) => `${n}%`),
);

describe('a rolling update', () => {
  test('arrives, and on the way never has too many pods nor too few', () => {
    fc.assert(
      fc.property(
        fc.nat(12),
        limit,
        limit,
        fc.infiniteStream(fc.nat(3)),
        (replicas, maxSurge, maxUnavailable, luck) => {
          const strategy = { type: 'RollingUpdate' as const, rollingUpdate: { maxSurge, maxUnavailable } };
          const world = new World(deployment({ replicas, strategy }));
          world.apply(world.plan());
          world.settle((_, n) => n);
          world.apply(world.plan());
          world.deployment = { ...deployment({ replicas, strategy }, 2), status: world.deployment.status ?? {} };
          const limits = rollingLimits(world.deployment);
          const newest = (set: ReplicaSet): boolean => set.spec.template?.spec?.containers[0]?.image === 'nginx:2';
          let steps = 0;
          for (; steps < 200; steps++) {
            const plan = world.plan();
            world.apply(plan);
            expect(world.total).toBeLessThanOrEqual(replicas + limits.maxSurge);
            expect(world.available).toBeGreaterThanOrEqual(replicas - limits.maxUnavailable);
            // Some of the new pods become available, in the end all.
            world.settle((set, n) =>
              newest(set) && steps < 20
                ? Math.min(n, (set.status?.availableReplicas ?? 0) + (luck.next().value ?? 0))
                : n,
            );
            const done = world.sets.every((set) => set.spec.replicas === (newest(set) ? replicas : 0));
            if (done && world.sets.some(newest)) break;
          }
          expect(steps).toBeLessThan(200);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('first takes away what does not work anyway', () => {
    const world = new World(
      deployment({ replicas: 4, strategy: { rollingUpdate: { maxSurge: 1, maxUnavailable: 1 } } }),
    );
    world.apply(world.plan());
    // None of the first version ever worked.
    world.settle(() => 0);
    world.deployment = { ...world.deployment, spec: deployment({ ...world.deployment.spec }, 2).spec };
    world.deployment.spec = { ...world.deployment.spec, template: deployment({}, 2).spec.template };
    world.apply(world.plan());
    world.apply(world.plan());
    expect(world.sets.map((s) => s.spec.replicas)).toEqual([3, 1]);
  });

  test('is scaled in proportion while it goes on', () => {
    const world = new World(
      deployment({ replicas: 10, strategy: { rollingUpdate: { maxSurge: 3, maxUnavailable: 2 } } }),
    );
    world.apply(world.plan());
    world.settle((_, n) => n);
    world.apply(world.plan());
    world.deployment = {
      ...world.deployment,
      spec: { ...world.deployment.spec, template: deployment({}, 2).spec.template },
    };
    world.apply(world.plan());
    const old = (set: ReplicaSet): boolean => set.spec.template?.spec?.containers[0]?.image === 'nginx:1';
    for (let i = 0; i < 2; i++) {
      world.settle((set, n) => (old(set) ? n : 0));
      world.apply(world.plan());
    }
    expect(world.sets.map((s) => s.spec.replicas)).toEqual([8, 5]);
    world.deployment = { ...world.deployment, spec: { ...world.deployment.spec, replicas: 15 } };
    world.apply(world.plan());
    // The example of kubernetes.io/docs/concepts/workloads/controllers/deployment, "Proportional scaling".
    expect(world.sets.map((s) => s.spec.replicas)).toEqual([11, 7]);
  });

  test('only as many old ReplicaSets are kept as the limit says', () => {
    const world = new World(deployment({ revisionHistoryLimit: 2 }));
    for (let version = 1; version <= 6; version++) {
      world.deployment = {
        ...world.deployment,
        spec: { ...world.deployment.spec, template: deployment({}, version).spec.template },
      };
      for (let i = 0; i < 12; i++) {
        world.apply(world.plan());
        world.settle((_, n) => n);
      }
    }
    expect(world.sets.map((s) => s.metadata.annotations?.['deployment.kubernetes.io/revision'])).toEqual([
      '4',
      '5',
      '6',
    ]);
  });

  test('one that does not get on is called stuck after its deadline', () => {
    const world = new World(deployment());
    world.apply(world.plan());
    world.settle(() => 0);
    const now = NOW + 601_000;
    const { status, again } = world.plan();
    expect(again).toBe(601_000);
    world.deployment = { ...world.deployment, status };
    const later = compileDeployment({ deployment: world.deployment, sets: world.sets, podsOf: () => [], now });
    const name = world.sets[0]?.metadata.name;
    expect(later.status.conditions?.find((c) => c.type === 'Progressing')).toMatchObject({
      status: 'False',
      reason: 'ProgressDeadlineExceeded',
      message: `ReplicaSet "${name}" has timed out progressing.`,
    });
  });
});

describe('templates', () => {
  test('the hash is of the alphabet of names, and the same for the same contents', () => {
    expect(safeEncode('0123456789')).toMatch(/^[bcdfghjklmnpqrstvwxz2456789]{10}$/);
    expect(templateHash({ a: 1, b: [] })).toBe(templateHash({ b: null, a: 1 }));
    expect(templateHash({ a: 1 })).not.toBe(templateHash({ a: 2 }));
    expect(templateHash({ a: 1 }, 1)).not.toBe(templateHash({ a: 1 }));
  });

  test('the hash label does not make a difference, a volume does', () => {
    const { template } = deployment().spec;
    const labels = { app: 'web', 'pod-template-hash': 'x' };
    expect(sameTemplate(template, { ...template, metadata: { labels } })).toBe(true);
    const withVolume = {
      ...template,
      spec: { ...template.spec, containers: [], volumes: [{ name: 'v', emptyDir: {} }] },
    };
    const withOther = { ...withVolume, spec: { ...withVolume.spec, volumes: [{ name: 'v' }] } };
    expect(sameTemplate(withVolume, withOther)).toBe(false);
  });
});

test.each([
  ['25%', 10, 'up', 3],
  ['25%', 10, 'down', 2],
  [4, 10, 'up', 4],
  ['0%', 10, 'up', 0],
  ['100%', 3, 'down', 3],
  [undefined, 3, 'down', 0],
] as const)('scaledValue(%s of %i, %s) is %i', (value, total, round, want) => {
  expect(scaledValue(value, total, round)).toBe(want);
});
