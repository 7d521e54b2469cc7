import { failure, StatusError } from '@weft/kube';
import type { AnyObject } from '../store/stored.ts';
import type { Env } from './context.ts';
import type { Resource } from './resource.ts';

/** Kinds that may be written in a namespace that is being deleted, as in Kubernetes: reviews and events do no harm. */
const ALLOWED_WHILE_TERMINATING = new Set(['authorization.k8s.io/localsubjectaccessreviews']);

/** NamespaceLifecycle admission: the namespace must exist, and must not be on its way out. Throws 404 or 403. */
export function admitNamespaced(env: Env, resource: Resource, object: AnyObject): void {
  if (!resource.api.namespaced) return;
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
