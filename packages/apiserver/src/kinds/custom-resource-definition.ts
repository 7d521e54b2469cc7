import type { CustomResourceDefinition, CustomResourceDefinitionVersion } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';
import { invalid, required } from './validate/errors.ts';
import { dns1035Label, dnsSubdomain } from './validate/names.ts';
import { checkEnum, checkImmutable, checkRule } from './validate/values.ts';

function defaults(definition: CustomResourceDefinition): void {
  const spec = (definition.spec ??= {} as CustomResourceDefinition['spec']);
  const names = (spec.names ??= { kind: '', plural: '' });
  names.singular ||= (names.kind ?? '').toLowerCase();
  if (!names.listKind && names.kind) names.listKind = `${names.kind}List`;
  spec.conversion ??= { strategy: 'None' };
}

function checkNames({ names }: CustomResourceDefinition['spec']): FieldError[] {
  const at = 'spec.names';
  const kindRule = (value: string): string[] => dns1035Label(value.toLowerCase());
  return [
    ...(names.plural ? checkRule(`${at}.plural`, names.plural, dns1035Label) : [required(`${at}.plural`)]),
    ...(names.singular ? checkRule(`${at}.singular`, names.singular, dns1035Label) : []),
    ...(names.kind ? checkRule(`${at}.kind`, names.kind, kindRule) : [required(`${at}.kind`)]),
    ...(names.listKind ? checkRule(`${at}.listKind`, names.listKind, kindRule) : []),
    ...(names.listKind && names.listKind === names.kind
      ? [invalid(`${at}.listKind`, names.listKind, 'kind and listKind may not be the same')]
      : []),
    ...(names.shortNames ?? []).flatMap((n, i) => checkRule(`${at}.shortNames[${i}]`, n, dns1035Label)),
    ...(names.categories ?? []).flatMap((n, i) => checkRule(`${at}.categories[${i}]`, n, dns1035Label)),
  ];
}

function checkVersion(field: string, version: CustomResourceDefinitionVersion): FieldError[] {
  const errors = checkRule(`${field}.name`, version.name ?? '', dns1035Label);
  const schema = version.schema?.openAPIV3Schema as { type?: string } | undefined;
  const at = `${field}.schema.openAPIV3Schema`;
  if (schema === undefined) errors.push(required(at, 'schemas are required'));
  else if (schema.type === undefined) errors.push(required(`${at}.type`, 'must not be empty at the root'));
  else if (schema.type !== 'object') errors.push(invalid(`${at}.type`, schema.type, 'must be object at the root'));
  (version.additionalPrinterColumns ?? []).forEach((column, i) => {
    const path = `${field}.additionalPrinterColumns[${i}]`;
    if (!column.name) errors.push(required(`${path}.name`));
    const types = ['boolean', 'date', 'integer', 'number', 'string'];
    errors.push(...checkEnum(`${path}.type`, column.type, types));
    if (!column.jsonPath) errors.push(required(`${path}.jsonPath`));
  });
  return errors;
}

function validate(definition: CustomResourceDefinition): FieldError[] {
  const { metadata, spec } = definition;
  const errors: FieldError[] = [];
  const wanted = `${spec.names.plural}.${spec.group}`;
  if (metadata.name !== wanted) {
    errors.push(invalid('metadata.name', metadata.name, 'must be spec.names.plural+"."+spec.group'));
  }
  if (!spec.group) errors.push(required('spec.group'));
  else {
    errors.push(...checkRule('spec.group', spec.group, dnsSubdomain));
    if (!spec.group.includes('.')) {
      errors.push(invalid('spec.group', spec.group, 'should be a domain with at least one dot'));
    }
  }
  errors.push(...checkEnum('spec.scope', spec.scope, ['Cluster', 'Namespaced']));
  const versions = spec.versions ?? [];
  if (versions.length === 0) errors.push(required('spec.versions', 'must have at least one version'));
  else if (versions.filter((v) => v.storage).length !== 1) {
    errors.push(invalid('spec.versions', versions, 'must have exactly one version marked as storage version'));
  }
  const names = versions.map((v) => v.name);
  if (new Set(names).size !== names.length) {
    errors.push(invalid('spec.versions', versions, 'must contain unique version names'));
  }
  versions.forEach((version, i) => {
    errors.push(...checkVersion(`spec.versions[${i}]`, version));
  });
  errors.push(...checkEnum('spec.conversion.strategy', spec.conversion?.strategy, ['None', 'Webhook']));
  return [...errors, ...checkNames(spec)];
}

function rememberStored(definition: CustomResourceDefinition): void {
  const storage = definition.spec.versions?.find((v) => v.storage)?.name;
  const stored = definition.status?.storedVersions ?? [];
  if (storage === undefined || stored.includes(storage)) return;
  definition.status = { ...definition.status, storedVersions: [...stored, storage] };
}

function validateUpdate(next: CustomResourceDefinition, old: CustomResourceDefinition): FieldError[] {
  const errors = [
    ...checkImmutable('spec.group', next.spec.group, old.spec.group),
    ...checkImmutable('spec.scope', next.spec.scope, old.spec.scope),
    ...checkImmutable('spec.names.kind', next.spec.names.kind, old.spec.names.kind),
    ...checkImmutable('spec.names.plural', next.spec.names.plural, old.spec.names.plural),
  ];
  for (const [i, version] of (old.status?.storedVersions ?? []).entries()) {
    if (next.spec.versions?.some((v) => v.name === version)) continue;
    errors.push(invalid(`status.storedVersions[${i}]`, version, 'must appear in spec.versions'));
  }
  return errors;
}

const kept = keepsStatus<CustomResourceDefinition>(() => ({
  conditions: [],
  acceptedNames: { kind: '', plural: '' },
  storedVersions: [],
}));

/** apiextensions.k8s.io/v1 CustomResourceDefinition. */
export const customResourceDefinitionRules: KindRules = rules<CustomResourceDefinition>({
  ...kept,
  hasGeneration: true,
  defaults,
  prepareCreate: (definition, ctx) => {
    kept.prepareCreate?.(definition, ctx);
    rememberStored(definition);
  },
  prepareUpdate: (next, old, ctx) => {
    kept.prepareUpdate?.(next, old, ctx);
    rememberStored(next);
  },
  validate,
  validateUpdate,
});
