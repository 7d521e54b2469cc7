import { failure, StatusError } from '@weft/kube';

/** How objects are shown: as they are, as rows, or reduced to their metadata. */
export interface OutputForm {
  readonly as: 'object' | 'table' | 'partial' | 'partiallist';
  /** Version of meta.k8s.io for tables and partial objects. */
  readonly version: string;
}

interface Offer {
  readonly type: string;
  readonly parameters: ReadonlyMap<string, string>;
}

const AS_IS: OutputForm = { as: 'object', version: '' };

/** Parses an Accept header in the order of preference (a stable sort by `q`). */
export function parseAccept(header: string | undefined): Offer[] {
  if (header === undefined || header.trim() === '') return [{ type: '*/*', parameters: new Map() }];
  return header
    .split(',')
    .map((text) => {
      const [type = '', ...rest] = text.split(';');
      const parameters = new Map<string, string>();
      for (const parameter of rest) {
        const at = parameter.indexOf('=');
        if (at > 0) parameters.set(parameter.slice(0, at).trim(), parameter.slice(at + 1).trim());
      }
      return { type: type.trim().toLowerCase(), parameters };
    })
    .sort((a, b) => Number(b.parameters.get('q') ?? 1) - Number(a.parameters.get('q') ?? 1));
}

/** Picks the first form that is served (JSON only). Throws 406 when none is. */
export function negotiateForm(header: string | undefined): OutputForm {
  for (const { type, parameters } of parseAccept(header)) {
    if (type !== 'application/json' && type !== '*/*' && type !== 'application/*') continue;
    const as = parameters.get('as');
    if (as === undefined) return AS_IS;
    const version = parameters.get('v') ?? '';
    if (parameters.get('g') !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) continue;
    if (as === 'Table') return { as: 'table', version };
    if (as === 'PartialObjectMetadata') return { as: 'partial', version };
    if (as === 'PartialObjectMetadataList') return { as: 'partiallist', version };
  }
  // curl, browsers and typed clients that also offer something else accept JSON in the end.
  if (parseAccept(header).some(({ type }) => type === 'text/html' || type === 'application/yaml')) return AS_IS;
  throw notAcceptable();
}

export function notAcceptable(): StatusError {
  return new StatusError(
    failure(
      'NotAcceptable',
      'only the following media types are accepted: application/json, application/json;as=Table;g=meta.k8s.io;v=v1, application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1',
    ),
  );
}

/** `application/json; charset=utf-8` → `application/json`. */
export function mediaType(header: string | undefined): string {
  return (header ?? '').split(';')[0]?.trim().toLowerCase() ?? '';
}
