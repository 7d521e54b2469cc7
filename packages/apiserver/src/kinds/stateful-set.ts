import type { StatefulSet } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { defaultTemplate, validateRunningTemplate, validateSelector } from './template.ts';
import { forbidden } from './validate/errors.ts';
import { checkEnum, checkNonNegative, same } from './validate/values.ts';

function defaults(set: StatefulSet): void {
  const spec = (set.spec ??= {} as StatefulSet['spec']);
  spec.podManagementPolicy ||= 'OrderedReady';
  const strategy = (spec.updateStrategy ??= {});
  strategy.type ||= 'RollingUpdate';
  if (strategy.type === 'RollingUpdate') (strategy.rollingUpdate ??= {}).partition ??= 0;
  const retention = (spec.persistentVolumeClaimRetentionPolicy ??= {});
  retention.whenDeleted ||= 'Retain';
  retention.whenScaled ||= 'Retain';
  spec.replicas ??= 1;
  spec.revisionHistoryLimit ??= 10;
  spec.template = defaultTemplate(spec.template);
  for (const claim of spec.volumeClaimTemplates ?? []) {
    claim.metadata ??= { name: '' };
    claim.apiVersion ??= 'v1';
    claim.kind ??= 'PersistentVolumeClaim';
    if (claim.spec) claim.spec.volumeMode ||= 'Filesystem';
    claim.status ??= { phase: 'Pending' };
  }
}

function validate({ spec }: StatefulSet): FieldError[] {
  const at = 'spec.persistentVolumeClaimRetentionPolicy';
  return [
    ...checkEnum('spec.podManagementPolicy', spec.podManagementPolicy, ['OrderedReady', 'Parallel']),
    ...checkEnum('spec.updateStrategy.type', spec.updateStrategy?.type, ['OnDelete', 'RollingUpdate']),
    ...checkNonNegative('spec.updateStrategy.rollingUpdate.partition', spec.updateStrategy?.rollingUpdate?.partition),
    ...checkEnum(`${at}.whenDeleted`, spec.persistentVolumeClaimRetentionPolicy?.whenDeleted, ['Delete', 'Retain']),
    ...checkEnum(`${at}.whenScaled`, spec.persistentVolumeClaimRetentionPolicy?.whenScaled, ['Delete', 'Retain']),
    ...checkNonNegative('spec.replicas', spec.replicas),
    ...checkNonNegative('spec.minReadySeconds', spec.minReadySeconds),
    ...checkNonNegative('spec.ordinals.start', spec.ordinals?.start),
    ...validateSelector('statefulset', spec.selector, spec.template),
    ...validateRunningTemplate('spec.template', withClaims(spec)),
  ];
}

/** Claim templates are volumes of every pod, so containers may mount them. */
function withClaims(spec: StatefulSet['spec']): StatefulSet['spec']['template'] {
  const claims = (spec.volumeClaimTemplates ?? []).map((claim) => ({
    name: claim.metadata.name,
    persistentVolumeClaim: { claimName: claim.metadata.name },
  }));
  const podSpec = spec.template.spec;
  if (claims.length === 0 || podSpec === undefined) return spec.template;
  const names = new Set(claims.map((c) => c.name));
  const own = (podSpec.volumes ?? []).filter((volume) => !names.has(volume.name));
  return { ...spec.template, spec: { ...podSpec, volumes: [...own, ...claims] } };
}

const MUTABLE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
] as const;

function validateUpdate(next: StatefulSet, old: StatefulSet): FieldError[] {
  const kept = { ...next.spec } as Record<string, unknown>;
  const before = { ...old.spec } as Record<string, unknown>;
  for (const key of MUTABLE) {
    delete kept[key];
    delete before[key];
  }
  if (same(kept, before)) return [];
  const names = MUTABLE.map((key) => `'${key}'`);
  const list = `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`;
  return [forbidden('spec', `updates to statefulset spec for fields other than ${list} are forbidden`)];
}

/** apps/v1 StatefulSet. */
export const statefulSetRules: KindRules = rules<StatefulSet>({
  ...keepsStatus(() => ({ replicas: 0 })),
  hasGeneration: true,
  defaults,
  validate,
  validateUpdate,
});
