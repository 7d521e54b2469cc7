import { type DeleteOptions, failure, type Status, StatusError, statusErrors } from '@weft/kube';
import type { Call } from '../registry/context.ts';
import { deleteObject } from '../registry/delete.ts';
import { clone, isRecord } from '../registry/json.ts';
import { selectStates } from '../registry/list.ts';
import type { Resource } from '../registry/resource.ts';
import { parseSelection } from '../registry/select.ts';
import type { Api, Exchange } from './api.ts';
import { decodeBody, readBody } from './body.ts';
import { renderList } from './render.ts';
import { addWarnings, sendChunks, sendJson, wantsPretty } from './respond.ts';
import { callOf, sendState, viewOf } from './verbs.ts';

/** Reads DeleteOptions from the body or else from the query. */
async function deleteOptions(exchange: Exchange): Promise<DeleteOptions> {
  const body = await readBody(exchange.request);
  if (body.length > 0) {
    const { value } = await decodeBody(body, exchange.request.headers['content-type']);
    if (!isRecord(value)) throw statusErrors.badRequest('the body of a DELETE must be DeleteOptions');
    return value as DeleteOptions;
  }
  const { query } = exchange;
  const grace = query.get('gracePeriodSeconds');
  const policy = query.get('propagationPolicy') as NonNullable<DeleteOptions['propagationPolicy']> | null;
  const orphan = query.get('orphanDependents');
  return {
    ...(grace === null ? {} : { gracePeriodSeconds: Number(grace) }),
    ...(policy === null ? {} : { propagationPolicy: policy }),
    ...(orphan === null ? {} : { orphanDependents: orphan === 'true' }),
  };
}

function checkDeleteOptions(options: DeleteOptions): void {
  const { gracePeriodSeconds: grace, propagationPolicy: policy, orphanDependents } = options;
  const refuse = (field: string, message: string): never => {
    throw new StatusError(
      failure('Invalid', `DeleteOptions.meta.k8s.io "" is invalid: ${field}: ${message}`, {
        group: 'meta.k8s.io',
        kind: 'DeleteOptions',
        causes: [{ reason: 'FieldValueInvalid', field, message }],
      }),
    );
  };
  if (grace !== undefined && grace !== null && !Number.isInteger(grace)) {
    refuse('gracePeriodSeconds', `Invalid value: ${JSON.stringify(grace)}: must be an integer`);
  }
  if (policy && !['Orphan', 'Background', 'Foreground'].includes(policy)) {
    refuse(
      'propagationPolicy',
      `Unsupported value: "${policy}": supported values: "Foreground", "Background", "Orphan"`,
    );
  }
  if (policy && orphanDependents !== undefined && orphanDependents !== null) {
    refuse(
      'propagationPolicy',
      'Invalid value: "' + policy + '": orphanDependents and deletionPropagation cannot be both set',
    );
  }
}

export async function serveDelete(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
  name: string,
): Promise<void> {
  const options = await deleteOptions(exchange);
  checkDeleteOptions(options);
  const call = withDryRun(callOf(exchange), options);
  const result = deleteObject(api.env, resource, namespace, name, options, call);
  await result.durable;
  addWarnings(exchange.response, call.warnings);
  if (!result.deleted) {
    sendState(exchange, viewOf(api, exchange, resource), 200, result.state);
    return;
  }
  const { group, plural } = resource.api;
  const status: Status = {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    details: {
      name,
      ...(group === '' ? {} : { group }),
      kind: plural,
      uid: result.state.object.metadata.uid ?? '',
    },
  };
  sendJson(exchange.response, 200, status, { pretty: wantsPretty(exchange.request, exchange.query) });
}

function withDryRun(call: Call, options: DeleteOptions): Call {
  return options.dryRun?.includes('All') === true ? { ...call, dryRun: true } : call;
}

export async function serveDeleteCollection(
  api: Api,
  exchange: Exchange,
  resource: Resource,
  namespace: string | undefined,
): Promise<void> {
  const options = await deleteOptions(exchange);
  checkDeleteOptions(options);
  const call = withDryRun(callOf(exchange), options);
  const selection = parseSelection(resource, namespace, exchange.query);
  const states = selectStates(api.env.store.collection(resource.storage), selection);
  const done: Promise<void>[] = [];
  for (const state of states) {
    const { metadata } = state.object;
    const own = clone(options);
    done.push(deleteObject(api.env, resource, metadata.namespace, metadata.name, own, call).durable);
  }
  await Promise.all(done);
  const view = viewOf(api, exchange, resource);
  await sendChunks(exchange.response, renderList(view, states, { resourceVersion: String(api.env.store.rv) }));
}
