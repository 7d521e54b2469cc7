import { type Namespace, resources, statusErrors } from '@weft/kube';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { checkRule } from './validate/values.ts';
import { qualifiedName } from './validate/names.ts';

/** Namespaces that the NamespaceLifecycle admission plugin keeps. */
const IMMORTAL = ['default', 'kube-public', 'kube-system'];
const NAME_LABEL = 'kubernetes.io/metadata.name';

/** core/v1 Namespace. */
export const namespaceRules: KindRules = rules<Namespace>({
  ...keepsStatus(() => ({ phase: 'Active' })),
  nameRule: 'dns-label',
  defaults: ({ metadata }) => {
    if (metadata.name) metadata.labels = { ...metadata.labels, [NAME_LABEL]: metadata.name };
  },
  prepareCreate: (namespace) => {
    namespace.spec = { finalizers: ['kubernetes'] };
    namespace.status = { phase: 'Active' };
  },
  validate: ({ spec }) =>
    (spec?.finalizers ?? []).flatMap((finalizer, i) => checkRule(`spec.finalizers[${i}]`, finalizer, qualifiedName)),
  validateDelete: ({ metadata }) => {
    if (!IMMORTAL.includes(metadata.name)) return [];
    throw statusErrors.forbidden(resources.namespaces, metadata.name, 'this namespace may not be deleted');
  },
  selectableFields: { 'status.phase': (n) => n.status?.phase ?? '' },
});
