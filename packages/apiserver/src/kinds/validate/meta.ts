import type { KubeObject, LabelSelector, ObjectMeta } from '@weft/kube';
import type { FieldError, KindStrategy } from '../../contract.ts';
import { forbidden, invalid, required, tooLong } from './errors.ts';
import { labelValue, NAME_RULES, qualifiedName } from './names.ts';
import { checkRule } from './values.ts';

export function checkLabels(field: string, labels: Readonly<Record<string, string>> | null | undefined): FieldError[] {
  return Object.entries(labels ?? {}).flatMap(([key, value]) => [
    ...checkRule(field, key, qualifiedName),
    ...checkRule(field, value, labelValue),
  ]);
}

/** Size of all annotations together, in bytes. */
const MAX_ANNOTATIONS = 256 * 1024;

export function checkAnnotations(
  field: string,
  annotations: Readonly<Record<string, string>> | null | undefined,
): FieldError[] {
  const entries = Object.entries(annotations ?? {});
  const size = entries.reduce((sum, [k, v]) => sum + Buffer.byteLength(k) + Buffer.byteLength(v), 0);
  return [
    ...entries.flatMap(([key]) => qualifiedName(key.toLowerCase()).map((detail) => invalid(field, key, detail))),
    ...(size > MAX_ANNOTATIONS ? [tooLong(field, MAX_ANNOTATIONS)] : []),
  ];
}

export function checkLabelSelector(field: string, selector: LabelSelector | null | undefined): FieldError[] {
  if (!selector) return [];
  const errors = checkLabels(`${field}.matchLabels`, selector.matchLabels);
  for (const [i, { key, operator, values = [] }] of (selector.matchExpressions ?? []).entries()) {
    const at = `${field}.matchExpressions[${i}]`;
    if (operator === 'In' || operator === 'NotIn') {
      if (values.length === 0) {
        errors.push(required(`${at}.values`, "must be specified when `operator` is 'In' or 'NotIn'"));
      }
    } else if (operator === 'Exists' || operator === 'DoesNotExist') {
      if (values.length > 0) {
        errors.push(forbidden(`${at}.values`, "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
      }
    } else errors.push(invalid(`${at}.operator`, operator, 'not a valid selector operator'));
    errors.push(...checkRule(`${at}.key`, key ?? '', qualifiedName));
    values.forEach((value, j) => {
      errors.push(...checkRule(`${at}.values[${j}]`, value, labelValue));
    });
  }
  return errors;
}

function checkOwners(field: string, meta: Partial<ObjectMeta>): FieldError[] {
  const errors: FieldError[] = [];
  let controller: string | undefined;
  for (const [i, ref] of (meta.ownerReferences ?? []).entries()) {
    const at = `${field}.ownerReferences[${i}]`;
    if (!ref.apiVersion || ref.apiVersion.split('/').length > 2) {
      errors.push(invalid(`${at}.apiVersion`, ref.apiVersion ?? '', 'version must not be empty'));
    }
    if (!ref.kind) errors.push(invalid(`${at}.kind`, '', 'must not be empty'));
    if (!ref.name) errors.push(invalid(`${at}.name`, '', 'must not be empty'));
    if (!ref.uid) errors.push(invalid(`${at}.uid`, '', 'must not be empty'));
    if (ref.apiVersion === 'v1' && ref.kind === 'Event') {
      errors.push(invalid(at, ref, `${ref.apiVersion}, Kind=${ref.kind} is disallowed from being an owner`));
    }
    if (ref.controller === true) {
      const controllerName = `${ref.kind}/${ref.name}`;
      if (controller !== undefined) {
        const text = `Only one reference can have Controller set to true. Found "true" in references for ${controller} and ${controllerName}`;
        errors.push(invalid(`${field}.ownerReferences`, meta.ownerReferences, text));
      }
      controller = controllerName;
    }
  }
  return errors;
}

const STANDARD_FINALIZERS = ['kubernetes', 'orphan', 'foregroundDeletion'];

function checkFinalizers(field: string, finalizers: readonly string[] | undefined): FieldError[] {
  const errors: FieldError[] = [];
  for (const [i, finalizer] of (finalizers ?? []).entries()) {
    errors.push(...checkRule(`${field}.finalizers[${i}]`, finalizer, qualifiedName));
    if (!finalizer.includes('/') && !STANDARD_FINALIZERS.includes(finalizer)) {
      errors.push(
        invalid(
          `${field}.finalizers[${i}]`,
          finalizer,
          'name is neither a standard finalizer name nor is it fully qualified',
        ),
      );
    }
  }
  if (finalizers?.includes('orphan') && finalizers.includes('foregroundDeletion')) {
    errors.push(
      invalid(`${field}.finalizers`, finalizers, 'finalizer orphan and foregroundDeletion cannot be both set'),
    );
  }
  return errors;
}

/** metadata of any object: name, labels, annotations, owners, finalizers (apimachinery's ValidateObjectMeta). */
export function checkObjectMeta(
  obj: KubeObject,
  namespaced: boolean,
  nameRule: NonNullable<KindStrategy['nameRule']>,
): FieldError[] {
  const { metadata: meta } = obj;
  const rule = NAME_RULES[nameRule];
  const errors: FieldError[] = [];
  if (meta.generateName) {
    // A suffix is put behind it, so a trailing hyphen is fine.
    const bare = meta.generateName.replace(/[-.]$/, 'a');
    errors.push(...rule(bare).map((detail) => invalid('metadata.generateName', meta.generateName, detail)));
  }
  if (!meta.name) {
    if (!meta.generateName) errors.push(required('metadata.name', 'name or generateName is required'));
  } else errors.push(...checkRule('metadata.name', meta.name, rule));
  if (namespaced) {
    if (!meta.namespace) errors.push(required('metadata.namespace'));
    else errors.push(...checkRule('metadata.namespace', meta.namespace, NAME_RULES['dns-label']));
  } else if (meta.namespace) errors.push(forbidden('metadata.namespace', 'not allowed on this type'));
  return [
    ...errors,
    ...checkLabels('metadata.labels', meta.labels),
    ...checkAnnotations('metadata.annotations', meta.annotations),
    ...checkOwners('metadata', meta),
    ...checkFinalizers('metadata', meta.finalizers),
  ];
}
