import { failure, StatusError } from '@weft/kube';
import type { AnyObject } from '../store/stored.ts';
import type { Call, Env } from './context.ts';
import type { Resource } from './resource.ts';
import { isRecord } from './json.ts';

/** Kinds that may be written in a namespace that is being deleted, as in Kubernetes: reviews and events do no harm. */
const ALLOWED_WHILE_TERMINATING = new Set(['authorization.k8s.io/localsubjectaccessreviews']);

/** What kube-apiserver's admission plugins do that every cluster has on. Changes `object` in place. */
export function admitCreate(env: Env, resource: Resource, object: AnyObject, _call: Call): void {
  if (resource.api.namespaced) checkNamespace(env, resource, object);
  switch (resource.storage) {
    case '/namespaces':
      admitNamespace(object);
      break;
    case '/pods':
      admitPod(object);
      break;
  }
}

/** NamespaceLifecycle: the namespace must exist, and must not be on its way out. */
function checkNamespace(env: Env, resource: Resource, object: AnyObject): void {
  const name = object.metadata.namespace ?? '';
  const namespace = env.store.collection('/namespaces').get(name);
  if (namespace === undefined) {
    throw new StatusError(failure('NotFound', `namespaces "${name}" not found`, { name, kind: 'namespaces' }));
  }
  if (namespace.object.metadata.deletionTimestamp === undefined) return;
  if (ALLOWED_WHILE_TERMINATING.has(resource.storage)) return;
  const { group, plural } = resource.api;
  const why = `unable to create new content in namespace ${name} because it is being terminated`;
  throw new StatusError(
    failure(
      'Forbidden',
      `${group === '' ? plural : `${plural}.${group}`} "${object.metadata.name}" is forbidden: ${why}`,
      {
        name: object.metadata.name,
        ...(group === '' ? {} : { group }),
        kind: plural,
        causes: [
          {
            reason: 'NamespaceTerminating',
            message: `namespace ${name} is being terminated`,
            field: 'metadata.namespace',
          },
        ],
      },
    ),
  );
}

/** Every namespace carries its name as a label, so that selectors can name it, and is emptied before it goes. */
export function admitNamespace(object: AnyObject): void {
  const { metadata } = object;
  if (metadata.name) metadata.labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name };
  object.spec = { finalizers: ['kubernetes'] };
  object.status = { phase: 'Active' };
}

/** ServiceAccount admission without the token volume, which the node makes from the TokenRequest API when asked. */
function admitPod(object: AnyObject): void {
  if (!isRecord(object.spec)) return;
  const account = object.spec.serviceAccountName || object.spec.serviceAccount || 'default';
  object.spec.serviceAccountName = account;
  object.spec.serviceAccount = account;
}
