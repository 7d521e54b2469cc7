import { statusErrors, type UserInfo } from '@weft/kube';
import { noSuchResource } from '../registry/create.ts';
import type { StreamRoute } from '../streaming-contract.ts';
import type { Api } from './api.ts';
import type { RequestInfo } from './request-info.ts';
import { isRecord } from '../registry/json.ts';

const KINDS = ['exec', 'attach', 'portforward', 'log'] as const;

/** The pod that a streaming request is about. Throws 404 when it does not exist. */
export function streamRoute(api: Api, info: RequestInfo, user: UserInfo, query: URLSearchParams): StreamRoute {
  const kind = KINDS.find((k) => k === info.subresource);
  const resource = api.env.table.find(info.group, info.version, info.resource);
  if (kind === undefined || resource?.storage !== '/pods' || info.name === undefined || info.namespace === undefined) {
    throw noSuchResource();
  }
  const pod = api.env.store.collection('/pods').get(`${info.namespace}/${info.name}`)?.object;
  if (pod === undefined) throw statusErrors.notFound(resource.api, info.name);
  const node = isRecord(pod.spec) && typeof pod.spec.nodeName === 'string' ? pod.spec.nodeName : '';
  return { kind, namespace: info.namespace, pod, node, query, user };
}
