import {
  type FieldRequirement,
  type LabelRequirement,
  matchRequirements,
  parseFieldSelector,
  parseLabelSelector,
  statusErrors,
} from '@weft/kube';
import { errorMessage } from '@weft/plan';
import type { Stored } from '../store/stored.ts';
import { objectOf, type Resource } from './resource.ts';

/** What a list or watch is limited to. */
export interface Selection {
  readonly namespace: string | undefined;
  /** Set when a field selector asks for one name: then one look-up replaces the list. */
  readonly name: string | undefined;
  readonly matches: (state: Stored) => boolean;
  /** True when only the namespace limits it. */
  readonly everything: boolean;
}

/** Reads the selectors of a query. Throws 400 in Kubernetes' words. */
export function parseSelection(resource: Resource, namespace: string | undefined, query: URLSearchParams): Selection {
  const labelText = query.get('labelSelector') ?? '';
  const fieldText = query.get('fieldSelector') ?? '';
  let labels: LabelRequirement[];
  let fields: FieldRequirement[];
  try {
    labels = parseLabelSelector(labelText);
    fields = parseFieldSelector(fieldText);
  } catch (error) {
    throw statusErrors.badRequest(
      `unable to parse requirement: ${errorMessage(error).replace(/^unable to parse requirement: /, '')}`,
    );
  }
  const { selectableFields = {} } = resource.strategy;
  for (const { path } of fields) {
    const known =
      path === 'metadata.name' ||
      (path === 'metadata.namespace' && resource.api.namespaced) ||
      Object.hasOwn(selectableFields, path);
    if (!known) throw statusErrors.badRequest(unknownField(resource, path));
  }
  const read = (state: Stored, path: string): string => {
    if (path === 'metadata.name') return state.key.slice(state.key.indexOf('/') + 1);
    if (path === 'metadata.namespace') return state.object.metadata.namespace ?? '';
    return selectableFields[path]?.(objectOf(resource, state)) ?? '';
  };
  const one = fields.find((f) => f.path === 'metadata.name' && f.operator === '=')?.value;
  const inNamespace = namespace === undefined ? undefined : `${namespace}/`;
  return {
    namespace,
    name: one,
    everything: labels.length === 0 && fields.length === 0,
    matches: (state) =>
      (inNamespace === undefined || state.key.startsWith(inNamespace)) &&
      fields.every((f) => (read(state, f.path) === f.value) === (f.operator === '=')) &&
      (labels.length === 0 || matchRequirements(labels, state.object.metadata.labels)),
  };
}

/** Kinds that know fields of their own refuse another one in other words than those that know none. */
function unknownField(resource: Resource, path: string): string {
  const ownFields = resource.custom !== undefined || Object.keys(resource.strategy.selectableFields ?? {}).length > 0;
  return ownFields
    ? `field label not supported: ${path}`
    : `"${path}" is not a known field selector: only "metadata.name", "metadata.namespace"`;
}
