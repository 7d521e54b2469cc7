import { type LabelSelector, matchLabelSelector, type PodTemplateSpec } from '@weft/kube';
import type { FieldError } from '../contract.ts';
import { defaultPodSpec } from './pod/defaults.ts';
import { validatePodSpec } from './pod/validate-spec.ts';
import { forbidden, invalid, notSupported, required } from './validate/errors.ts';
import { checkAnnotations, checkLabelSelector, checkLabels } from './validate/meta.ts';

/** Fills the defaults of a pod template; an absent one becomes empty, so that validation can name what it lacks. */
export function defaultTemplate(template: PodTemplateSpec | undefined): PodTemplateSpec {
  const out = template ?? {};
  out.spec ??= { containers: [] };
  defaultPodSpec(out.spec);
  return out;
}

/** A pod template's own fields, whatever the selector. */
export function validateTemplate(field: string, template: PodTemplateSpec): FieldError[] {
  return [
    ...checkLabels(`${field}.labels`, template.metadata?.labels),
    ...checkAnnotations(`${field}.annotations`, template.metadata?.annotations),
    ...validatePodSpec(`${field}.spec`, template.spec ?? { containers: [] }),
  ];
}

/** The template of a controller that keeps its pods running for ever. */
export function validateRunningTemplate(field: string, template: PodTemplateSpec): FieldError[] {
  const errors = validateTemplate(field, template);
  const { restartPolicy, activeDeadlineSeconds } = template.spec ?? {};
  if (restartPolicy && restartPolicy !== 'Always') {
    errors.push(notSupported(`${field}.spec.restartPolicy`, restartPolicy, ['Always']));
  }
  if (activeDeadlineSeconds !== undefined) {
    errors.push(
      forbidden(`${field}.spec.activeDeadlineSeconds`, 'activeDeadlineSeconds in ReplicaSet is not Supported'),
    );
  }
  return errors;
}

/** A controller's selector must be there, select something, and select what its template makes. */
export function validateSelector(
  kind: 'deployment' | 'daemonset' | 'statefulset',
  selector: LabelSelector | undefined,
  template: PodTemplateSpec | undefined,
): FieldError[] {
  const labels = template?.metadata?.labels ?? {};
  const mismatch = invalid('spec.template.metadata.labels', labels, '`selector` does not match template `labels`');
  if (!selector) return [required('spec.selector'), mismatch];
  const errors = checkLabelSelector('spec.selector', selector);
  if (Object.keys(selector.matchLabels ?? {}).length + (selector.matchExpressions?.length ?? 0) === 0) {
    return [...errors, invalid('spec.selector', selector, `empty selector is invalid for ${kind}`)];
  }
  if (errors.length === 0 && !matchLabelSelector(selector, labels)) errors.push(mismatch);
  return errors;
}
