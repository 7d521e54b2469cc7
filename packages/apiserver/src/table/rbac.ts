import type { KubeObject } from '@weft/kube';
import { age, createdAt, name, part, printer, wide } from './printer.ts';

export interface Binding extends KubeObject {
  roleRef?: { apiGroup?: string; kind: string; name: string };
  subjects?: { kind: string; apiGroup?: string; name: string; namespace?: string }[];
}

const subjects = (binding: Binding, kind: string): string =>
  (binding.subjects ?? [])
    .filter((s) => s.kind === kind)
    .map((s) => (kind === 'ServiceAccount' && s.namespace ? `${s.namespace}/${s.name}` : s.name))
    .join(', ');

export const roles = printer<KubeObject>(name, createdAt);

export const bindings = printer<Binding>(
  name,
  part('Role', (b) => `${b.roleRef?.kind}/${b.roleRef?.name}`, {}, 'Role that is granted'),
  age,
  part('Users', (b) => subjects(b, 'User'), wide, 'Users it is granted to'),
  part('Groups', (b) => subjects(b, 'Group'), wide, 'Groups it is granted to'),
  part('ServiceAccounts', (b) => subjects(b, 'ServiceAccount'), wide, 'Service accounts it is granted to'),
);
