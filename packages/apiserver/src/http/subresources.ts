import { failure, type Scale, type Status, StatusError, statusErrors, type TokenRequest } from '@weft/kube';
import { requestToken } from '../auth/service-account-token.ts';
import { noSuchResource } from '../registry/create.ts';
import { type BodyType, decodeObject } from '../registry/decode.ts';
import { patchType, patchValue } from '../registry/patch.ts';
import { bindPod, evictPod } from '../registry/pods.ts';
import { objectOf, type Resource } from '../registry/resource.ts';
import { scaleOf, updateScale } from '../registry/scale.ts';
import { gvkType } from '../schema/index.ts';
import type { AnyObject } from '../store/stored.ts';
import { scalePrinter } from '../table/index.ts';
import type { Api, Exchange } from './api.ts';
import { parseYamlBody, readBody } from './body.ts';
import { mediaType } from './negotiate.ts';
import { renderMade } from './render.ts';
import type { RequestInfo } from './request-info.ts';
import { callOf, readObject, sendState, servePatch, serveUpdate, stateOf, viewOf } from './verbs.ts';
import { addWarnings, sendJson, wantsPretty } from './respond.ts';
import { isRecord } from '../registry/json.ts';

const typed = (group: string, version: string, kind: string): BodyType => ({
  apiVersion: group === '' ? version : `${group}/${version}`,
  kind,
  typeName: gvkType(group, version, kind),
});
const SCALE = typed('autoscaling', 'v1', 'Scale');
const EVICTION = typed('policy', 'v1', 'Eviction');
const BINDING = typed('', 'v1', 'Binding');
const TOKEN_REQUEST = typed('authentication.k8s.io', 'v1', 'TokenRequest');

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
      if (verb === 'get') {
        return sendState(exchange, viewOf(api, exchange, resource), 200, stateOf(api, resource, namespace, name));
      }
      if (verb === 'update') return serveUpdate(api, exchange, resource, namespace, name, part);
      return servePatch(api, exchange, resource, namespace, name, part);
    }
    case 'scale':
      return serveScale(api, exchange, info, resource, namespace, name);
    case 'binding':
      return serveBinding(api, exchange, namespace ?? '', name);
    case 'eviction':
      return serveEviction(api, exchange, resource, namespace ?? '', name);
    case 'token':
      return serveToken(api, exchange, resource, namespace ?? '', name);
    case 'exec':
    case 'attach':
    case 'portforward':
      stateOf(api, resource, namespace, name);
      throw statusErrors.badRequest('Upgrade request required');
    default:
      throw new StatusError(failure('Unknown', `this API server does not serve ${subresource}`, undefined, 501));
  }
}

async function serveScale(
  api: Api,
  exchange: Exchange,
  info: RequestInfo,
  resource: Resource,
  namespace: string | undefined,
  name: string,
): Promise<void> {
  const { response, request, query } = exchange;
  const pretty = wantsPretty(request, query);
  const view = viewOf(api, exchange, resource);
  const renderScale = (scale: Scale): object => renderMade(view, scalePrinter, scale as unknown as AnyObject);
  if (info.verb === 'get') {
    const state = stateOf(api, resource, namespace, name);
    sendJson(response, 200, renderScale(scaleOf(resource, objectOf(resource, state))), { pretty });
    return;
  }
  const call = callOf(exchange);
  let change: (current: Scale) => Scale;
  if (info.verb === 'update') {
    const wanted = await readObject(exchange, SCALE, call);
    change = () => wanted as unknown as Scale;
  } else {
    const type = patchType(mediaType(request.headers['content-type']), resource);
    const patch = await parseYamlBody(await readBody(request));
    const scaleResource = { ...resource, typeName: SCALE.typeName };
    change = (current) => {
      // An applied Scale holds the one field there is.
      const kind = type === 'apply' ? 'merge' : type;
      const patched = patchValue(scaleResource, kind, current as unknown as AnyObject, patch);
      return decodeObject(patched, SCALE, call.validation, call.warnings) as unknown as Scale;
    };
  }
  const result = updateScale(api.env, resource, namespace, name, change, call);
  await result.durable;
  addWarnings(response, call.warnings);
  sendJson(response, 200, renderScale(scaleOf(resource, objectOf(resource, result.state))), { pretty });
}

/** POST of a Binding, on the pod or on the old `bindings` resource (then `name` is the object's). */
export async function serveBinding(
  api: Api,
  exchange: Exchange,
  namespace: string,
  name: string | undefined,
): Promise<void> {
  const call = callOf(exchange);
  const binding = await readObject(exchange, BINDING, call);
  const pods = api.env.table.find('', 'v1', 'pods') as Resource;
  const pod = name ?? binding.metadata.name;
  if (binding.metadata.name && binding.metadata.name !== pod) {
    throw statusErrors.badRequest(
      `the name of the object (${binding.metadata.name}) does not match the name on the URL (${pod})`,
    );
  }
  const result = bindPod(api.env, pods, namespace, pod, binding, call);
  await result.durable;
  sendSuccess(exchange, 201);
}

async function serveEviction(
  api: Api,
  exchange: Exchange,
  pods: Resource,
  namespace: string,
  name: string,
): Promise<void> {
  const call = callOf(exchange);
  const eviction = await readObject(exchange, EVICTION, call);
  if (eviction.metadata.name && eviction.metadata.name !== name) {
    throw statusErrors.badRequest('name in URL does not match name in Eviction object');
  }
  const options = isRecord(eviction.deleteOptions) ? eviction.deleteOptions : {};
  const dryRun = Array.isArray(options.dryRun) && options.dryRun.includes('All');
  const result = evictPod(api.env, pods, namespace, name, eviction, dryRun ? { ...call, dryRun } : call);
  await result.durable;
  sendSuccess(exchange, 201);
}

async function serveToken(
  api: Api,
  exchange: Exchange,
  accounts: Resource,
  namespace: string,
  name: string,
): Promise<void> {
  const call = callOf(exchange);
  const request = (await readObject(exchange, TOKEN_REQUEST, call)) as unknown as TokenRequest;
  const answer = requestToken(api.env, api.tokens, accounts, namespace, name, request);
  addWarnings(exchange.response, call.warnings);
  sendJson(exchange.response, 201, answer, { pretty: wantsPretty(exchange.request, exchange.query) });
}

function sendSuccess(exchange: Exchange, code: number): void {
  const status: Status = { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code };
  sendJson(exchange.response, code, status, { pretty: wantsPretty(exchange.request, exchange.query) });
}
