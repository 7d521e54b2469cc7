import { type KubeObject, objectKey, type ResourceType, resources, splitKey } from '@weft/kube';
import type { Controller, ControllerContext } from '../context.ts';
import { eventRecorder } from '../events.ts';
import { type Again, WorkQueue } from '../queue.ts';

/** Says on an object that it is stored but has no effect: `generation N: why`. */
export const NOT_ENFORCED_ANNOTATION = 'weft.dev/not-enforced';

/** A kind that can be stored but is not enforced by anything in this cluster. */
export interface NotEnforced {
  readonly type: ResourceType;
  /** For the user: what does not happen. Short, because kubectl describe cuts annotations at 140 characters. */
  readonly message: string;
}

export const notEnforcedByDefault: readonly NotEnforced[] = [
  {
    type: resources.networkpolicies,
    message: 'stored but not enforced: no policy engine runs in this cluster; its pods stay open to all traffic',
  },
  {
    type: resources.ingresses,
    message: 'stored but not served: no ingress controller runs in this cluster; nothing answers for its hosts',
  },
];

/**
 * Tells the truth about objects that nothing acts on: a Warning event and an annotation, once per generation. Neither
 * NetworkPolicy nor Ingress has a status with conditions (networking.k8s.io/v1), so the annotation stands in for one.
 */
export function notEnforcedController(context: ControllerContext, kind: NotEnforced): Controller {
  const { client, informers } = context;
  const { type, message } = kind;
  const name = `not-enforced-${type.plural}`;
  const recorder = eventRecorder(context, 'weft-controllers');
  const informer = informers.of<KubeObject>(type);
  const queue = new WorkQueue({ ...context, name, concurrency: 2 }, reconcile);

  async function reconcile(key: string): Promise<Again> {
    const object = informer.get(key);
    if (object === undefined || object.metadata.deletionTimestamp !== undefined) return undefined;
    const text = `generation ${object.metadata.generation ?? 1}: ${message}`;
    if (object.metadata.annotations?.[NOT_ENFORCED_ANNOTATION] === text) return undefined;
    const where = splitKey(key);
    const patch = { metadata: { annotations: { [NOT_ENFORCED_ANNOTATION]: text } } };
    await client.patch(type, where.namespace, where.name, patch, { fieldManager: 'weft-controllers' });
    recorder.event(object, 'Warning', 'NotEnforced', message);
    return undefined;
  }

  informer.on({
    add: (object) => queue.add(objectKey(object)),
    update: (_, after) => queue.add(objectKey(after)),
  });
  return { name, needs: [informer], begin: () => queue.release(), idle: () => queue.idle() };
}
