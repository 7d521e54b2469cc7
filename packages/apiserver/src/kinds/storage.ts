import type { KubeObject, PersistentVolumeClaim } from '@weft/kube';
import type { FieldError, StrategyContext } from '../contract.ts';
import type { PersistentVolume, StorageClass } from '../table/storage.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { forbidden, required } from './validate/errors.ts';
import { checkEnum, checkImmutable, same } from './validate/values.ts';

const MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'];
const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

function checkModes(field: string, modes: readonly string[] | undefined): FieldError[] {
  if (!modes?.length) return [required(field, 'at least 1 access mode is required')];
  return modes.flatMap((mode, i) => checkEnum(`${field}[${i}]`, mode, MODES));
}

/** core/v1 PersistentVolume. */
export const persistentVolumeRules: KindRules = rules<PersistentVolume>({
  ...keepsStatus(() => ({ phase: 'Pending' })),
  defaults: (volume) => {
    volume.spec ??= {};
    volume.spec.persistentVolumeReclaimPolicy ||= 'Retain';
    volume.spec.volumeMode ||= 'Filesystem';
  },
  validate: ({ spec }) => [
    ...checkModes('spec.accessModes', spec.accessModes),
    ...(Object.keys(spec.capacity ?? {}).length === 0 ? [required('spec.capacity')] : []),
    ...checkEnum('spec.persistentVolumeReclaimPolicy', spec.persistentVolumeReclaimPolicy, [
      'Delete',
      'Recycle',
      'Retain',
    ]),
    ...checkEnum('spec.volumeMode', spec.volumeMode, ['Block', 'Filesystem']),
  ],
  validateUpdate: (next, old) => checkImmutable('spec.volumeMode', next.spec.volumeMode, old.spec.volumeMode),
});

function admitClass(claim: PersistentVolumeClaim, ctx: StrategyContext): void {
  if (claim.spec === undefined || claim.spec.storageClassName !== undefined) return;
  const chosen = ctx
    .list('storage.k8s.io/storageclasses')
    .find((c) => c.metadata.annotations?.[DEFAULT_CLASS] === 'true');
  if (chosen !== undefined) claim.spec.storageClassName = chosen.metadata.name;
}

function validateClaimUpdate(next: PersistentVolumeClaim, old: PersistentVolumeClaim): FieldError[] {
  // A claim may be bound, may grow, and a claim without a class may get one.
  const fixed = (claim: PersistentVolumeClaim, other: PersistentVolumeClaim): unknown => ({
    ...claim.spec,
    resources: { ...claim.spec?.resources, requests: null },
    volumeName: other.spec?.volumeName ? claim.spec?.volumeName : null,
    volumeAttributesClassName: null,
    storageClassName: old.spec?.storageClassName === undefined ? null : claim.spec?.storageClassName,
  });
  if (same(fixed(next, old), fixed(old, old))) return [];
  const text =
    'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims';
  return [forbidden('spec', text)];
}

/** core/v1 PersistentVolumeClaim. */
export const persistentVolumeClaimRules: KindRules = rules<PersistentVolumeClaim>({
  ...keepsStatus(() => ({ phase: 'Pending' })),
  defaults: (claim) => {
    claim.spec ??= {};
    claim.spec.volumeMode ||= 'Filesystem';
  },
  prepareCreate: (claim, ctx) => {
    claim.status = { phase: 'Pending' };
    admitClass(claim, ctx);
  },
  validate: ({ spec }) => [
    ...checkModes('spec.accessModes', spec?.accessModes),
    ...(spec?.resources?.requests?.storage === undefined ? [required('spec.resources[storage]')] : []),
    ...checkEnum('spec.volumeMode', spec?.volumeMode, ['Block', 'Filesystem']),
  ],
  validateUpdate: validateClaimUpdate,
});

/** storage.k8s.io/v1 StorageClass. */
export const storageClassRules: KindRules = rules<StorageClass>({
  defaults: (c) => {
    c.reclaimPolicy ??= 'Delete';
    c.volumeBindingMode ??= 'Immediate';
  },
  validate: (c) => [
    ...(c.provisioner ? [] : [required('provisioner')]),
    ...checkEnum('reclaimPolicy', c.reclaimPolicy, ['Delete', 'Retain']),
    ...checkEnum('volumeBindingMode', c.volumeBindingMode, ['Immediate', 'WaitForFirstConsumer']),
  ],
  validateUpdate: (next, old) => {
    const parameters = (c: KubeObject & { parameters?: unknown }): unknown => c.parameters ?? {};
    return [
      ...(same(parameters(next), parameters(old))
        ? []
        : [forbidden('parameters', 'updates to parameters are forbidden.')]),
      ...(next.provisioner === old.provisioner
        ? []
        : [forbidden('provisioner', 'updates to provisioner are forbidden.')]),
      ...checkImmutable('volumeBindingMode', next.volumeBindingMode, old.volumeBindingMode),
      ...checkImmutable('reclaimPolicy', next.reclaimPolicy, old.reclaimPolicy),
    ];
  },
});
