import { type KubeObject, statusErrors } from '@weft/kube';
import { errorMessage } from '@weft/plan';
import { applyObject } from '../apply/apply.ts';
import type { Call, Result } from '../registry/context.ts';
import { createObject } from '../registry/create.ts';
import { type BodyType, bodyTypeOf, decodeObject, type FieldValidation } from '../registry/decode.ts';
import { listObjects } from '../registry/list.ts';
import { patchObject, patchType } from '../registry/patch.ts';
import type { Resource } from '../registry/resource.ts';
import { parseSelection } from '../registry/select.ts';
import { createsOnUpdate, type Part, updateObject } from '../registry/update.ts';
import type { Stored } from '../store/stored.ts';
import { Watch } from '../watch/watch.ts';
import type { Api, Exchange } from './api.ts';
import { decodeBody, parseYamlBody, readBody } from './body.ts';
import { mediaType, negotiateForm } from './negotiate.ts';
import { type IncludeObject, renderList, renderObject, type View } from './render.ts';
import { addWarnings, sendChunks, sendJson, wantsPretty } from './respond.ts';

/** The current state of an object. Throws 404. */
export function stateOf(api: Api, resource: Resource, namespace: string | undefined, name: string): Stored {
  const key = namespace === undefined ? name : `${namespace}/${name}`;
  const state = api.env.store.collection(resource.storage).get(key);
  if (state === undefined) throw statusErrors.notFound(resource.api, name);
  return state;
}

export function viewOf(api: Api, exchange: Exchange, resource: Resource): View {
  const include = exchange.query.get('includeObject');
  return {
    resource,
    form: negotiateForm(exchange.request.headers.accept),
    includeObject: include === 'None' || include === 'Object' ? (include as IncludeObject) : 'Metadata',
    now: api.env.now(),
  };
}

export function serveGet(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
  name: string,
): void {
  const view = viewOf(api, exchange, resource);
  sendState(exchange, view, 200, stateOf(api, resource, namespace, name));
}

export function sendState(exchange: Exchange, view: View, code: number, state: Stored): void {
  sendJson(exchange.response, code, renderObject(view, state), {
    pretty: wantsPretty(exchange.request, exchange.query),
  });
}

export async function serveList(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
): Promise<void> {
  const selection = parseSelection(resource, namespace, exchange.query);
  const view = viewOf(api, exchange, resource);
  const page = listObjects(api.env, api.pages, resource, selection, exchange.query);
  const chunks = renderList(view, page.states, {
    resourceVersion: String(page.resourceVersion),
    ...(page.continue === undefined ? {} : { continue: page.continue }),
    ...(page.remaining === undefined ? {} : { remainingItemCount: page.remaining }),
  });
  if (wantsPretty(exchange.request, exchange.query)) {
    sendJson(exchange.response, 200, Buffer.concat([...chunks]), { pretty: true });
  } else await sendChunks(exchange.response, chunks);
}

export function serveWatch(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
  name: string | undefined,
): void {
  const { query } = exchange;
  if (name !== undefined) query.set('fieldSelector', `metadata.name=${name}`);
  const selection = parseSelection(resource, namespace, query);
  Watch.serve(api.env, api.watches, exchange.response, viewOf(api, exchange, resource), selection, query);
}

/** Reads the parameters that all writes share. Throws 400 or 422. */
export function callOf(exchange: Exchange): Call {
  const { query, user } = exchange;
  const dryRun = query.getAll('dryRun').filter((text) => text !== '');
  if (dryRun.some((text) => text !== 'All')) {
    throw statusErrors.badRequest(`invalid dryRun: Unsupported value: "${dryRun[0]}": supported values: "All"`);
  }
  const validation = query.get('fieldValidation') || 'Warn';
  if (!['Ignore', 'Warn', 'Strict'].includes(validation)) {
    throw statusErrors.badRequest(
      `fieldValidation: Unsupported value: "${validation}": supported values: "Ignore", "Strict", "Warn"`,
    );
  }
  const manager = query.get('fieldManager');
  const agent = /^[^/\s]+/.exec(exchange.request.headers['user-agent'] ?? '')?.[0] ?? 'unknown';
  return {
    user,
    dryRun: dryRun.length > 0,
    manager: manager || agent,
    managerGiven: Boolean(manager),
    validation: validation as FieldValidation,
    warnings: [],
  };
}

/** Reads and checks the object of a create or update. */
export async function readObject(
  exchange: Exchange,
  type: BodyType,
  call: Call,
): Promise<KubeObject & { [field: string]: unknown }> {
  const { request } = exchange;
  const { value, text } = await decodeBody(await readBody(request), request.headers['content-type']);
  return decodeObject(value, type, call.validation, call.warnings, text);
}

/** Answers a write once it is durable. */
async function sendResult(api: Api, exchange: Exchange, resource: Resource, result: Result, call: Call): Promise<void> {
  await result.durable;
  addWarnings(exchange.response, call.warnings);
  sendState(exchange, viewOf(api, exchange, resource), result.created ? 201 : 200, result.state);
}

export async function serveCreate(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
): Promise<void> {
  const call = callOf(exchange);
  const object = await readObject(exchange, bodyTypeOf(resource), call);
  await sendResult(api, exchange, resource, createObject(api.env, resource, namespace, object, call), call);
}

/** PUT of an object or a part of it. */
export async function serveUpdate(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  part: Part,
): Promise<void> {
  const call = callOf(exchange);
  const object = await readObject(exchange, bodyTypeOf(resource), call);
  const result = updateObject(
    api.env,
    resource,
    {
      namespace,
      name,
      part,
      change: () => object,
      ...(part === 'all' && createsOnUpdate(resource) ? { create: () => object } : {}),
    },
    call,
  );
  await sendResult(api, exchange, resource, result, call);
}

/** PATCH of an object or a part of it, of any type. */
export async function servePatch(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
  name: string,
  part: Part,
): Promise<void> {
  const call = callOf(exchange);
  const type = patchType(mediaType(exchange.request.headers['content-type']), resource);
  const body = await readBody(exchange.request);
  if (type === 'apply') {
    const force = exchange.query.get('force') === 'true';
    const value = await parseYamlBody(body);
    await sendResult(
      api,
      exchange,
      resource,
      applyObject(api.env, resource, { namespace, name, part, value, force }, call),
      call,
    );
    return;
  }
  let patch: unknown;
  try {
    patch = JSON.parse(body.toString()) as unknown;
  } catch (error) {
    throw statusErrors.badRequest(`error decoding patch: ${errorMessage(error)}`);
  }
  const result = patchObject(api.env, resource, { namespace, name, part, type, patch }, call);
  await sendResult(api, exchange, resource, result, call);
}
