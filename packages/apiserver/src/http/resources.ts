import { statusErrors } from '@weft/kube';
import { noSuchResource } from '../registry/create.ts';
import type { Api, Exchange } from './api.ts';
import type { RequestInfo } from './request-info.ts';
import { serveSubresource } from './subresources.ts';
import { serveDelete, serveDeleteCollection } from './delete.ts';
import { serveCreate, serveGet, serveList, servePatch, serveUpdate, serveWatch } from './verbs.ts';
import { serveVirtual } from './virtual.ts';

/** Serves a request for a resource, whatever its verb. */
export async function serveResource(api: Api, exchange: Exchange, info: RequestInfo): Promise<void> {
  const resource = api.env.table.find(info.group, info.version, info.resource);
  if (resource === undefined) throw noSuchResource();
  if (resource.api.namespaced && info.namespace === undefined && needsNamespace(info)) throw noSuchResource();
  if (!resource.api.namespaced && info.namespace !== undefined && info.resource !== 'namespaces')
    throw noSuchResource();
  if (info.subresource !== undefined) return serveSubresource(api, exchange, info, resource);
  if (!resource.api.verbs.includes(info.verb) || !fitsName(info))
    throw statusErrors.methodNotAllowed(resource.api, info.verb);
  if (await serveVirtual(api, exchange, info, resource)) return;
  const namespace = resource.api.namespaced ? info.namespace : undefined;
  switch (info.verb) {
    case 'get':
      return serveGet(api, exchange, resource, namespace, info.name as string);
    case 'list':
      return serveList(api, exchange, resource, namespace);
    case 'watch':
      return serveWatch(api, exchange, resource, namespace, info.name);
    case 'create':
      return serveCreate(api, exchange, resource, namespace);
    case 'update':
      return serveUpdate(api, exchange, resource, namespace, info.name as string, 'all');
    case 'patch':
      return servePatch(api, exchange, resource, namespace, info.name as string, 'all');
    case 'delete':
      return serveDelete(api, exchange, resource, namespace, info.name as string);
    case 'deletecollection':
      return serveDeleteCollection(api, exchange, resource, namespace);
  }
}

/** Objects are created in a collection; what exists is changed by its name. */
function fitsName({ verb, name }: RequestInfo): boolean {
  if (verb === 'create') return name === undefined;
  return (verb !== 'update' && verb !== 'patch') || name !== undefined;
}

function needsNamespace(info: RequestInfo): boolean {
  return info.name !== undefined || info.verb === 'create' || info.verb === 'deletecollection';
}
