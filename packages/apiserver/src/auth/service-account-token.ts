import { statusErrors, type TokenRequest } from '@weft/kube';
import { type Env, keyOf } from '../registry/context.ts';
import { formatTime } from '../registry/metadata.ts';
import type { Resource } from '../registry/resource.ts';
import type { AnyObject } from '../store/stored.ts';
import type { Tokens } from './tokens.ts';

const MIN_SECONDS = 600;
const MAX_SECONDS = 2 ** 32;
const NAMED = { group: 'authentication.k8s.io', plural: 'tokenrequests', kind: 'TokenRequest' };

/** `serviceaccounts/NAME/token`: a token for the account, bound to a pod or Secret if asked. Throws 404, 409 or 422. */
export function requestToken(
  env: Env,
  tokens: Tokens,
  accounts: Resource,
  namespace: string,
  name: string,
  request: TokenRequest,
): TokenRequest {
  const account = env.store.collection('/serviceaccounts').get(keyOf(namespace, name))?.object;
  if (account === undefined) throw statusErrors.notFound(accounts.api, name);
  const spec = request.spec ?? {};
  const seconds = spec.expirationSeconds ?? 3600;
  const refuse = (why: string): never => {
    throw statusErrors.invalid(NAMED, name, [
      { reason: 'FieldValueInvalid', field: 'spec.expirationSeconds', message: `Invalid value: ${seconds}: ${why}` },
    ]);
  };
  if (seconds < MIN_SECONDS) refuse('may not specify a duration less than 10 minutes');
  if (seconds > MAX_SECONDS) refuse('may not specify a duration larger than 2^32 seconds');

  const audiences = spec.audiences?.length ? spec.audiences : [tokens.issuer];
  const bound = boundObject(env, namespace, spec.boundObjectRef);
  const { token, expires } = tokens.issue(
    {
      aud: audiences,
      sub: `system:serviceaccount:${namespace}:${name}`,
      'kubernetes.io': {
        namespace,
        serviceaccount: { name, uid: account.metadata.uid ?? '' },
        ...bound,
      },
    },
    seconds,
  );
  return {
    kind: 'TokenRequest',
    apiVersion: 'authentication.k8s.io/v1',
    metadata: { name, namespace, creationTimestamp: formatTime(env.now()) },
    spec: { ...spec, audiences, expirationSeconds: seconds },
    status: { token, expirationTimestamp: formatTime(expires) },
  };
}

function boundObject(
  env: Env,
  namespace: string,
  ref: NonNullable<TokenRequest['spec']>['boundObjectRef'],
): Record<string, { name: string; uid: string }> {
  if (ref === undefined) return {};
  const kind = ref.kind === 'Pod' ? 'pods' : ref.kind === 'Secret' ? 'secrets' : undefined;
  if (kind === undefined || ref.apiVersion !== 'v1') {
    throw statusErrors.badRequest(
      `cannot bind token for serviceaccount "${namespace}" to type ${ref.apiVersion}, Kind=${ref.kind}`,
    );
  }
  const name = ref.name ?? '';
  const object = env.store.collection(`/${kind}`).get(keyOf(namespace, name))?.object;
  const named = { group: '', plural: kind, kind: ref.kind ?? '' };
  if (object === undefined) throw statusErrors.notFound(named, name);
  const uid = object.metadata.uid ?? '';
  if (ref.uid && ref.uid !== uid) {
    throw statusErrors.conflict(
      named,
      name,
      `the UID in the bound object reference (${ref.uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  }
  const out: Record<string, { name: string; uid: string }> = { [ref.kind === 'Pod' ? 'pod' : 'secret']: { name, uid } };
  const node = ref.kind === 'Pod' ? nodeOf(env, object) : undefined;
  if (node !== undefined) out.node = node;
  return out;
}

function nodeOf(env: Env, pod: AnyObject): { name: string; uid: string } | undefined {
  const name = (pod.spec as { nodeName?: string } | undefined)?.nodeName;
  const node = name === undefined ? undefined : env.store.collection('/nodes').get(name)?.object;
  return node === undefined ? undefined : { name: node.metadata.name, uid: node.metadata.uid ?? '' };
}
