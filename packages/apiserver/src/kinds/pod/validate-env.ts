import type { EnvFromSource, EnvVar, EnvVarSource } from '@weft/kube';
import type { FieldError } from '../../contract.ts';
import { invalid, notSupported, required } from '../validate/errors.ts';
import { envVarName } from '../validate/names.ts';
import { checkRule } from '../validate/values.ts';

const FIELDS = [
  'metadata.name',
  'metadata.namespace',
  'metadata.uid',
  'spec.nodeName',
  'spec.serviceAccountName',
  'status.hostIP',
  'status.hostIPs',
  'status.podIP',
  'status.podIPs',
];
const SUBSCRIPTED = /^metadata\.(labels|annotations)\['[^']+'\]$/;

function checkSource(field: string, source: EnvVarSource, value: string | undefined): FieldError[] {
  const errors: FieldError[] = [];
  const kinds = Object.values(source).filter((part) => part !== undefined && part !== null);
  if (kinds.length === 0) {
    const text = 'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`';
    errors.push(invalid(field, '', text));
  }
  if (kinds.length > 0 && value) errors.push(invalid(field, '', 'may not be specified when `value` is not empty'));
  if (kinds.length > 1) errors.push(invalid(field, '', 'may not have more than one field specified at a time'));
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef } = source;
  if (fieldRef) {
    const path = fieldRef.fieldPath;
    if (!path) errors.push(required(`${field}.fieldRef.fieldPath`));
    else if (!FIELDS.includes(path) && !SUBSCRIPTED.test(path)) {
      errors.push(notSupported(`${field}.fieldRef.fieldPath`, path, FIELDS));
    }
  }
  if (resourceFieldRef && !resourceFieldRef.resource) {
    errors.push(required(`${field}.resourceFieldRef.resource`));
  }
  for (const [kind, ref] of Object.entries({ configMapKeyRef, secretKeyRef })) {
    if (!ref) continue;
    if (!ref.name) errors.push(required(`${field}.${kind}.name`));
    if (!ref.key) errors.push(required(`${field}.${kind}.key`));
  }
  return errors;
}

export function checkEnv(field: string, env: readonly EnvVar[] | undefined): FieldError[] {
  return (env ?? []).flatMap(({ name, value, valueFrom }, i) => {
    const at = `${field}[${i}]`;
    return [
      ...(name ? checkRule(`${at}.name`, name, envVarName) : [required(`${at}.name`)]),
      ...(valueFrom ? checkSource(`${at}.valueFrom`, valueFrom, value) : []),
    ];
  });
}

export function checkEnvFrom(field: string, sources: readonly EnvFromSource[] | undefined): FieldError[] {
  return (sources ?? []).flatMap((source, i) => {
    const at = `${field}[${i}]`;
    const { configMapRef, secretRef } = source;
    const errors: FieldError[] = [];
    if (!configMapRef && !secretRef) {
      errors.push(invalid(at, '', 'must specify one of: `configMapRef` or `secretRef`'));
    } else if (configMapRef && secretRef) {
      errors.push(invalid(at, '', 'may not have more than one field specified at a time'));
    }
    if (configMapRef && !configMapRef.name) errors.push(required(`${at}.configMapRef.name`));
    if (secretRef && !secretRef.name) errors.push(required(`${at}.secretRef.name`));
    if (source.prefix) errors.push(...checkRule(`${at}.prefix`, source.prefix, envVarName));
    return errors;
  });
}
