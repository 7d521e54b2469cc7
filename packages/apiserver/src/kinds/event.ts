import type { FieldError } from '../contract.ts';
import type { AnyEvent } from '../table/config.ts';
import { type KindRules, rules } from './strategy.ts';
import { invalid } from './validate/errors.ts';

/** Events of cluster-wide objects live in `default`. */
function validate(event: AnyEvent): FieldError[] {
  const { namespace = '' } = event.metadata;
  const target = event.involvedObject?.namespace ?? event.regarding?.namespace ?? '';
  if (
    target === '' ? namespace === 'default' || namespace === 'kube-system' || namespace === '' : target === namespace
  ) {
    return [];
  }
  return [invalid('involvedObject.namespace', target, 'does not match event.namespace')];
}

type Reference = NonNullable<AnyEvent['involvedObject']>;
const field =
  (key: keyof Reference) =>
  (event: AnyEvent): string =>
    (event.involvedObject ?? event.regarding)?.[key] ?? '';

/** Events, in either form. */
export const eventRules: KindRules = rules<AnyEvent>({
  validate,
  selectableFields: {
    'involvedObject.kind': field('kind'),
    'involvedObject.namespace': field('namespace'),
    'involvedObject.name': field('name'),
    'involvedObject.uid': field('uid'),
    'involvedObject.apiVersion': field('apiVersion'),
    'involvedObject.resourceVersion': field('resourceVersion'),
    'involvedObject.fieldPath': field('fieldPath'),
    reason: (e) => e.reason ?? '',
    reportingComponent: (e) => e.reportingComponent ?? e.reportingController ?? '',
    source: (e) => e.source?.component || e.reportingComponent || e.reportingController || '',
    type: (e) => e.type ?? '',
  },
});
