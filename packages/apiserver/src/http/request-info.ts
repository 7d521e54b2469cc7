import { failure, StatusError, statusErrors } from '@weft/kube';

type Verb = 'get' | 'list' | 'watch' | 'create' | 'update' | 'patch' | 'delete' | 'deletecollection';

/** What a URL of the API asks for (apiserver/pkg/endpoints/request.RequestInfo). */
export interface RequestInfo {
  readonly verb: Verb;
  /** Empty for the core group. */
  readonly group: string;
  readonly version: string;
  readonly namespace: string | undefined;
  readonly resource: string;
  readonly name: string | undefined;
  readonly subresource: string | undefined;
  /** What follows the subresource, as in `…/proxy/a/b`. */
  readonly rest: string | undefined;
}

/** Parses `/api/v1/…` and `/apis/GROUP/VERSION/…`; undefined for a path that names no resource. */
export function parseRequest(method: string, path: string, query: URLSearchParams): RequestInfo | undefined {
  const parts: string[] = path.split('/').filter((part) => part !== '');
  let group: string;
  const root = parts.shift();
  if (root === 'api') group = '';
  else if (root === 'apis') group = parts.shift() ?? '';
  else return undefined;
  const version = parts.shift();
  if (version === undefined || parts.length === 0) return undefined;
  const watchPrefix = parts[0] === 'watch' && parts.length > 1;
  if (watchPrefix) parts.shift();
  const decoded = parts.map(decode);

  let namespace: string | undefined;
  let [resource, name, subresource, ...rest] = decoded;
  if (resource === 'namespaces' && name !== undefined) {
    const next = subresource;
    if (next === undefined || next === 'status' || next === 'finalize') namespace = name;
    else {
      namespace = name;
      [resource, name, subresource, ...rest] = decoded.slice(2);
    }
  }
  return {
    verb: watchPrefix ? 'watch' : verbOf(method, name, subresource, query),
    group,
    version,
    namespace,
    resource: resource ?? '',
    name,
    subresource,
    rest: rest.length > 0 ? rest.join('/') : undefined,
  };
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw statusErrors.badRequest(`the path part "${part}" is not percent-encoded correctly`);
  }
}

function verbOf(
  method: string,
  name: string | undefined,
  subresource: string | undefined,
  query: URLSearchParams,
): Verb {
  switch (method) {
    case 'POST':
      return 'create';
    case 'PUT':
      return 'update';
    case 'PATCH':
      return 'patch';
    case 'DELETE':
      return name === undefined ? 'deletecollection' : 'delete';
    case 'GET':
    case 'HEAD':
      if (subresource === undefined && isTrue(query.get('watch'))) return 'watch';
      return name === undefined ? 'list' : 'get';
    default:
      throw new StatusError(
        failure('MethodNotAllowed', 'the server does not allow this method on the requested resource'),
      );
  }
}

/** How the API reads a boolean in a query: present and not `false` or `0`. */
export function isTrue(value: string | null): boolean {
  return value !== null && value !== 'false' && value !== '0';
}
