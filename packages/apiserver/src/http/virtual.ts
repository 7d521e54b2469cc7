import { statusErrors } from '@weft/kube';
import { answerReview } from '../auth/reviews.ts';
import { bodyTypeOf } from '../registry/decode.ts';
import type { Resource } from '../registry/resource.ts';
import type { Api, Exchange } from './api.ts';
import type { RequestInfo } from './request-info.ts';
import { callOf, readObject } from './verbs.ts';
import { addWarnings, sendJson, wantsPretty } from './respond.ts';
import { serveBinding } from './subresources.ts';

const REVIEW_GROUPS = new Set(['authentication.k8s.io', 'authorization.k8s.io']);

/** Serves resources that are not stored (reviews, bindings, component statuses). False for a stored one. */
export async function serveVirtual(
  api: Api,
  exchange: Exchange,
  info: RequestInfo,
  resource: Resource,
): Promise<boolean> {
  const pretty = wantsPretty(exchange.request, exchange.query);
  if (REVIEW_GROUPS.has(resource.api.group)) {
    const call = callOf(exchange);
    const review = await readObject(exchange, bodyTypeOf(resource), call);
    const answer = answerReview(resource, review, exchange.user, api.tokens);
    if (answer === undefined) return false;
    addWarnings(exchange.response, call.warnings);
    sendJson(exchange.response, 201, answer, { pretty });
    return true;
  }
  if (resource.storage === '/bindings') {
    await serveBinding(api, exchange, info.namespace ?? '', undefined);
    return true;
  }
  if (resource.storage === '/componentstatuses') {
    addWarnings(exchange.response, ['v1 ComponentStatus is deprecated in v1.19+']);
    if (info.name !== undefined) throw statusErrors.notFound(resource.api, info.name);
    sendJson(
      exchange.response,
      200,
      { kind: 'ComponentStatusList', apiVersion: 'v1', metadata: {}, items: [] },
      { pretty },
    );
    return true;
  }
  return false;
}
