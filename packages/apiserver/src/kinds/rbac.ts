import type { KubeObject } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import type { Binding } from '../table/rbac.ts';
import { type KindRules, rules } from './strategy.ts';
import { invalid, notSupported, required } from './validate/errors.ts';
import { dnsSubdomain, pathSegment } from './validate/names.ts';
import { checkRule, same } from './validate/values.ts';

const GROUP = 'rbac.authorization.k8s.io';

interface PolicyRule {
  verbs?: string[];
  apiGroups?: string[];
  resources?: string[];
  nonResourceURLs?: string[];
}

interface Role extends KubeObject {
  rules?: PolicyRule[] | null;
}

function checkPolicyRule(field: string, rule: PolicyRule, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (!rule.verbs?.length) errors.push(required(`${field}.verbs`, 'verbs must contain at least one value'));
  if (rule.nonResourceURLs?.length) {
    if (namespaced) {
      const text = 'namespaced rules cannot apply to non-resource URLs';
      errors.push(invalid(`${field}.nonResourceURLs`, rule.nonResourceURLs, text));
    }
    if (rule.apiGroups?.length || rule.resources?.length) {
      const text = 'rules cannot apply to both regular resources and non-resource URLs';
      errors.push(invalid(`${field}.nonResourceURLs`, rule.nonResourceURLs, text));
    }
    return errors;
  }
  if (!rule.apiGroups?.length) {
    errors.push(required(`${field}.apiGroups`, 'resource rules must supply at least one api group'));
  }
  if (!rule.resources?.length) {
    errors.push(required(`${field}.resources`, 'resource rules must supply at least one resource'));
  }
  return errors;
}

/** rbac.authorization.k8s.io/v1 Role and ClusterRole. */
export const roleRules = (namespaced: boolean): KindRules =>
  rules<Role>({
    nameRule: 'path-segment',
    validate: (role) => (role.rules ?? []).flatMap((rule, i) => checkPolicyRule(`rules[${i}]`, rule, namespaced)),
  });

function defaultBinding(binding: Binding): void {
  if (binding.roleRef) binding.roleRef.apiGroup ||= GROUP;
  for (const subject of binding.subjects ?? []) {
    if (subject.kind === 'User' || subject.kind === 'Group') subject.apiGroup ??= GROUP;
  }
}

function validateBinding(binding: Binding, namespaced: boolean): FieldError[] {
  const errors: FieldError[] = [];
  const { apiGroup, kind = '', name = '' } = binding.roleRef ?? {};
  if (apiGroup !== GROUP) errors.push(notSupported('roleRef.apiGroup', apiGroup ?? '', [GROUP]));
  const kinds = namespaced ? ['ClusterRole', 'Role'] : ['ClusterRole'];
  if (!kinds.includes(kind)) errors.push(notSupported('roleRef.kind', kind, kinds));
  errors.push(...(name ? checkRule('roleRef.name', name, pathSegment) : [required('roleRef.name')]));
  (binding.subjects ?? []).forEach((subject, i) => {
    const at = `subjects[${i}]`;
    if (!subject.name) errors.push(required(`${at}.name`));
    if (subject.kind === 'ServiceAccount') {
      if (subject.name) errors.push(...checkRule(`${at}.name`, subject.name, dnsSubdomain));
      if (subject.apiGroup) errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup, ['']));
      if (!subject.namespace) errors.push(required(`${at}.namespace`));
    } else if (subject.kind === 'User' || subject.kind === 'Group') {
      if (subject.apiGroup !== GROUP) errors.push(notSupported(`${at}.apiGroup`, subject.apiGroup ?? '', [GROUP]));
    } else errors.push(notSupported(`${at}.kind`, subject.kind, ['Group', 'ServiceAccount', 'User']));
  });
  return errors;
}

/** rbac.authorization.k8s.io/v1 RoleBinding and ClusterRoleBinding. */
export const bindingRules = (namespaced: boolean): KindRules =>
  rules<Binding>({
    nameRule: 'path-segment',
    defaults: defaultBinding,
    validate: (binding) => validateBinding(binding, namespaced),
    validateUpdate: (next, old) =>
      same(next.roleRef, old.roleRef) ? [] : [invalid('roleRef', next.roleRef, 'cannot change roleRef')],
  });
