import type { Resource } from '../registry/resource.ts';
import type { Api, Exchange } from './api.ts';
import type { RequestInfo } from './request-info.ts';

/** Serves resources that are not stored (reviews, bindings). False when the resource is a stored one. */
export async function serveVirtual(
  _api: Api,
  _exchange: Exchange,
  _info: RequestInfo,
  _resource: Resource,
): Promise<boolean> {
  return false;
}
