import { isLabelKey, isLabelValue, type ObjectMeta } from '@weft/kube';
import type { FieldError, KindStrategy } from '../contract.ts';

const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;
const LABEL = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/;
const LABEL_1035 = /^[a-z]([-a-z0-9]*[a-z0-9])?$/;

const SUBDOMAIN_RULE =
  "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL_RULE =
  "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_1035_RULE =
  "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')";
const QUALIFIED_RULE =
  "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";
const VALUE_RULE =
  "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";

const MAX_ANNOTATIONS = 256 * 1024;

const invalid = (field: string, value: unknown, why: string): FieldError => ({
  reason: 'FieldValueInvalid',
  field,
  message: `Invalid value: ${JSON.stringify(value)}: ${why}`,
});

/** Why a name breaks the rule of its kind; empty when it does not. */
function nameProblems(name: string, rule: KindStrategy['nameRule']): string[] {
  const out: string[] = [];
  const check = (limit: number, pattern: RegExp, why: string): void => {
    if (name.length > limit) out.push(`must be no more than ${limit} characters`);
    if (!pattern.test(name)) out.push(why);
  };
  switch (rule) {
    case 'dns-label':
      check(63, LABEL, LABEL_RULE);
      break;
    case 'dns1035-label':
      check(63, LABEL_1035, LABEL_1035_RULE);
      break;
    case 'path-segment':
      if (name === '.' || name === '..') out.push(`may not be '${name}'`);
      for (const c of ['/', '%']) if (name.includes(c)) out.push(`may not contain '${c}'`);
      break;
    default:
      check(253, SUBDOMAIN, SUBDOMAIN_RULE);
  }
  return out;
}

/** Checks what all kinds have in common (apimachinery/pkg/api/validation.ValidateObjectMeta). */
export function validateMetadata(meta: ObjectMeta, namespaced: boolean, rule: KindStrategy['nameRule']): FieldError[] {
  const out: FieldError[] = [];
  if (meta.generateName) {
    const stem = meta.generateName.replace(/-+$/, '') || 'x';
    for (const why of nameProblems(stem, rule)) out.push(invalid('metadata.generateName', meta.generateName, why));
  }
  if (!meta.name) {
    out.push({
      reason: 'FieldValueRequired',
      field: 'metadata.name',
      message: 'Required value: name or generateName is required',
    });
  } else for (const why of nameProblems(meta.name, rule)) out.push(invalid('metadata.name', meta.name, why));
  if (namespaced) {
    for (const why of nameProblems(meta.namespace ?? '', 'dns-label')) {
      out.push(invalid('metadata.namespace', meta.namespace, why));
    }
  } else if (meta.namespace) {
    out.push({
      reason: 'FieldValueForbidden',
      field: 'metadata.namespace',
      message: 'Forbidden: not allowed on this type',
    });
  }
  for (const [key, value] of Object.entries(meta.labels ?? {})) {
    if (!isLabelKey(key)) out.push(invalid('metadata.labels', key, keyProblem(key)));
    if (!isLabelValue(value)) {
      out.push(
        invalid('metadata.labels', value, value.length > 63 ? 'must be no more than 63 characters' : VALUE_RULE),
      );
    }
  }
  let size = 0;
  for (const [key, value] of Object.entries(meta.annotations ?? {})) {
    if (!isLabelKey(key.toLowerCase())) out.push(invalid('metadata.annotations', key, keyProblem(key)));
    size += Buffer.byteLength(key) + Buffer.byteLength(value);
  }
  if (size > MAX_ANNOTATIONS) {
    out.push({
      reason: 'FieldValueTooLong',
      field: 'metadata.annotations',
      message: `Too long: may not be more than ${MAX_ANNOTATIONS} bytes`,
    });
  }
  out.push(...validateOwners(meta), ...validateFinalizers(meta));
  return out;
}

function keyProblem(key: string): string {
  const name = key.slice(key.indexOf('/') + 1);
  if (name === '') return 'name part must be non-empty';
  if (name.length > 63) return 'name part must be no more than 63 characters';
  if (key.includes('/') && !SUBDOMAIN.test(key.slice(0, key.indexOf('/')))) return `prefix part ${SUBDOMAIN_RULE}`;
  return QUALIFIED_RULE;
}

function validateOwners(meta: ObjectMeta): FieldError[] {
  const out: FieldError[] = [];
  let controllers = 0;
  meta.ownerReferences?.forEach((owner, i) => {
    const field = `metadata.ownerReferences[${i}]`;
    for (const part of ['apiVersion', 'kind', 'name', 'uid'] as const) {
      if (!owner[part]) out.push(invalid(`${field}.${part}`, owner[part] ?? '', `${part} must not be empty`));
    }
    if (owner.controller === true) controllers += 1;
  });
  if (controllers > 1) {
    out.push(
      invalid(
        'metadata.ownerReferences',
        meta.ownerReferences,
        'Only one reference can have Controller set to true. Found "true" in references for more than one owner',
      ),
    );
  }
  return out;
}

function validateFinalizers(meta: ObjectMeta): FieldError[] {
  const out: FieldError[] = [];
  for (const finalizer of meta.finalizers ?? []) {
    if (!isLabelKey(finalizer)) out.push(invalid('metadata.finalizers', finalizer, keyProblem(finalizer)));
    else if (!/[/.]/.test(finalizer) && !['orphan', 'foregroundDeletion'].includes(finalizer)) {
      out.push(
        invalid(
          'metadata.finalizers',
          finalizer,
          'name is neither a standard finalizer name nor is it fully qualified',
        ),
      );
    }
  }
  if (meta.finalizers?.includes('orphan') && meta.finalizers.includes('foregroundDeletion')) {
    out.push(
      invalid('metadata.finalizers', meta.finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'),
    );
  }
  return out;
}

/** Checks a change of metadata (apimachinery/pkg/api/validation.ValidateObjectMetaUpdate). */
export function validateMetadataUpdate(next: ObjectMeta, old: ObjectMeta): FieldError[] {
  const out: FieldError[] = [];
  if (old.deletionTimestamp !== undefined) {
    const added = (next.finalizers ?? []).filter((f) => !old.finalizers?.includes(f));
    if (added.length > 0) {
      out.push({
        reason: 'FieldValueForbidden',
        field: 'metadata.finalizers',
        message: `Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{${added.map((f) => `"${f}"`).join(', ')}}`,
      });
    }
  }
  return out;
}

const ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** The five characters that a generated name ends in; no vowels, so that no words appear. */
export function nameSuffix(): string {
  let out = '';
  for (let i = 0; i < 5; i++) out += ALPHABET[Math.floor(Math.random() * ALPHABET.length)];
  return out;
}

/** `metav1.Time`: RFC 3339 in UTC with seconds. */
export function formatTime(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}
