import { statusErrors } from '@weft/kube';
import type { Resource } from '../registry/resource.ts';
import type { Api, Exchange } from './api.ts';
import type { RequestInfo } from './request-info.ts';
import { sendState, servePatch, serveUpdate, stateOf, viewOf } from './resources.ts';
import { noSuchResource } from '../registry/create.ts';

/** Serves `…/NAME/SUBRESOURCE`. */
export async function serveSubresource(
  api: Api,
  exchange: Exchange,
  info: RequestInfo,
  resource: Resource,
): Promise<void> {
  const { subresource = '', verb } = info;
  const name = info.name as string;
  const namespace = resource.api.namespaced ? info.namespace : undefined;
  const served = resource.api.subresources.find((s) => s.name === subresource);
  if (served === undefined) throw noSuchResource();
  if (!served.verbs.includes(verb)) throw statusErrors.methodNotAllowed(resource.api, verb);
  switch (subresource) {
    case 'status':
    case 'ephemeralcontainers':
    case 'finalize':
    case 'approval': {
      const part = subresource === 'approval' ? 'status' : subresource;
      if (verb === 'get')
        return sendState(exchange, viewOf(api, exchange, resource), 200, stateOf(api, resource, namespace, name));
      if (verb === 'update') return serveUpdate(api, exchange, resource, namespace, name, part);
      return servePatch(api, exchange, resource, namespace, name, part);
    }
    default:
      throw noSuchResource();
  }
}
