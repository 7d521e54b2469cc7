import type { KubeObject, PersistentVolumeClaim } from '@weft/kube';
import { age, name, part, printer, wide } from './printer.ts';

const MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};
/** Access modes in the fixed order and short form of kubectl. */
const modesText = (modes: readonly string[] | undefined): string =>
  Object.entries(MODES)
    .filter(([mode]) => modes?.includes(mode))
    .map(([, short]) => short)
    .join(',');

export interface PersistentVolume extends KubeObject {
  spec: {
    capacity?: Record<string, string>;
    accessModes?: string[];
    persistentVolumeReclaimPolicy?: string;
    claimRef?: { namespace?: string; name?: string };
    storageClassName?: string;
    volumeAttributesClassName?: string;
    volumeMode?: string;
  };
  status?: { phase?: string; reason?: string };
}

const deleting = (obj: KubeObject, phase: string | undefined): string =>
  obj.metadata.deletionTimestamp ? 'Terminating' : (phase ?? '');
const orUnset = (value: string | undefined): string => value || '<unset>';

export const persistentVolumes = printer<PersistentVolume>(
  name,
  part('Capacity', (v) => v.spec.capacity?.storage ?? '', {}, 'Size'),
  part('Access Modes', (v) => modesText(v.spec.accessModes), {}, 'Ways it can be mounted'),
  part('Reclaim Policy', (v) => v.spec.persistentVolumeReclaimPolicy ?? '', {}, 'What happens after its claim'),
  part('Status', (v) => deleting(v, v.status?.phase), {}, 'Phase'),
  part(
    'Claim',
    (v) => (v.spec.claimRef ? `${v.spec.claimRef.namespace ?? ''}/${v.spec.claimRef.name ?? ''}` : ''),
    {},
    'Claim it is bound to',
  ),
  part('StorageClass', (v) => v.spec.storageClassName ?? '', {}, 'Class it belongs to'),
  part('VolumeAttributesClass', (v) => orUnset(v.spec.volumeAttributesClassName), {}, 'Class of its attributes'),
  part('Reason', (v) => v.status?.reason ?? '', {}, 'Why it is in its phase'),
  age,
  part('VolumeMode', (v) => orUnset(v.spec.volumeMode), wide, 'Filesystem or Block'),
);

export const persistentVolumeClaims = printer<PersistentVolumeClaim>(
  name,
  part('Status', (c) => deleting(c, c.status?.phase), {}, 'Phase'),
  part('Volume', (c) => c.spec?.volumeName ?? '', {}, 'Volume it is bound to'),
  part('Capacity', (c) => (c.spec?.volumeName ? (c.status?.capacity?.storage ?? '') : ''), {}, 'Size'),
  part(
    'Access Modes',
    (c) => (c.spec?.volumeName ? modesText(c.status?.accessModes) : ''),
    {},
    'Ways it can be mounted',
  ),
  part('StorageClass', (c) => c.spec?.storageClassName ?? '', {}, 'Class it asks for'),
  part('VolumeAttributesClass', (c) => orUnset(c.spec?.volumeAttributesClassName), {}, 'Class of its attributes'),
  age,
  part('VolumeMode', (c) => orUnset(c.spec?.volumeMode), wide, 'Filesystem or Block'),
);

export interface StorageClass extends KubeObject {
  provisioner?: string;
  reclaimPolicy?: string;
  volumeBindingMode?: string;
  allowVolumeExpansion?: boolean;
}

const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

export const storageClasses = printer<StorageClass>(
  part(
    'Name',
    (c) => (c.metadata.annotations?.[DEFAULT_CLASS] === 'true' ? `${c.metadata.name} (default)` : c.metadata.name),
    { format: 'name' },
  ),
  part('Provisioner', (c) => c.provisioner ?? '', {}, 'Who makes volumes of the class'),
  part('ReclaimPolicy', (c) => c.reclaimPolicy ?? 'Delete', {}, 'What happens after the claim'),
  part('VolumeBindingMode', (c) => orUnset(c.volumeBindingMode), {}, 'When a volume is made'),
  part('AllowVolumeExpansion', (c) => c.allowVolumeExpansion ?? false, {}, 'Whether volumes can grow'),
  age,
);

interface CsiDriver extends KubeObject {
  spec?: {
    attachRequired?: boolean;
    podInfoOnMount?: boolean;
    storageCapacity?: boolean;
    tokenRequests?: { audience: string }[];
    requiresRepublish?: boolean;
    volumeLifecycleModes?: string[];
  };
}

export const csiDrivers = printer<CsiDriver>(
  name,
  part('AttachRequired', (d) => d.spec?.attachRequired ?? true),
  part('PodInfoOnMount', (d) => d.spec?.podInfoOnMount ?? false),
  part('StorageCapacity', (d) => d.spec?.storageCapacity ?? false),
  part('TokenRequests', (d) => orUnset((d.spec?.tokenRequests ?? []).map((t) => t.audience).join(','))),
  part('RequiresRepublish', (d) => d.spec?.requiresRepublish ?? false),
  part('Modes', (d) => (d.spec?.volumeLifecycleModes ?? []).join(',')),
  age,
);

interface CsiNode extends KubeObject {
  spec?: { drivers?: unknown[] };
}

export const csiNodes = printer<CsiNode>(
  name,
  part('Drivers', (n) => n.spec?.drivers?.length ?? 0, { type: 'integer' }),
  age,
);

interface VolumeAttachment extends KubeObject {
  spec?: { attacher?: string; nodeName?: string; source?: { persistentVolumeName?: string } };
  status?: { attached?: boolean };
}

export const volumeAttachments = printer<VolumeAttachment>(
  name,
  part('Attacher', (a) => a.spec?.attacher ?? '', { format: 'name' }),
  part('PV', (a) => a.spec?.source?.persistentVolumeName ?? ''),
  part('Node', (a) => a.spec?.nodeName ?? ''),
  part('Attached', (a) => a.status?.attached ?? false, { type: 'boolean' }),
  age,
);
