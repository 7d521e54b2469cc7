import { failure, isStatus, matchLabelSelector, type LabelSelector, StatusError, statusErrors } from '@weft/kube';
import type { AnyObject } from '../store/stored.ts';
import type { Call, Env, Result } from './context.ts';
import { deleteObject } from './delete.ts';
import { formatTime } from './metadata.ts';
import type { Resource } from './resource.ts';
import { updateObject } from './update.ts';
import { isRecord } from './json.ts';

interface Condition {
  readonly type: string;
  readonly status: string;
  readonly lastTransitionTime?: string;
}

const specOf = (pod: AnyObject): Record<string, unknown> => (isRecord(pod.spec) ? pod.spec : {});
const statusOf = (pod: AnyObject): Record<string, unknown> => (isRecord(pod.status) ? pod.status : {});
const conditionsOf = (pod: AnyObject): Condition[] => (statusOf(pod).conditions as Condition[] | undefined) ?? [];

/** Assigns a pod to a node (`pods/NAME/binding`). Throws 409 when it has one, or is being deleted. */
export function bindPod(
  env: Env,
  pods: Resource,
  namespace: string,
  name: string,
  binding: AnyObject,
  call: Call,
): Result {
  const target = isRecord(binding.target) ? binding.target : {};
  const node = typeof target.name === 'string' ? target.name : '';
  if (node === '' || (target.kind !== undefined && target.kind !== '' && target.kind !== 'Node')) {
    throw statusErrors.invalid({ ...pods.api, kind: 'Binding' }, name, [
      node === ''
        ? { reason: 'FieldValueRequired', field: 'target.name', message: 'Required value' }
        : {
            reason: 'FieldValueNotSupported',
            field: 'target.kind',
            message: `Unsupported value: ${JSON.stringify(target.kind)}: supported values: "Node", "<empty>"`,
          },
    ]);
  }
  const bindings = { ...pods.api, plural: 'pods/binding' };
  const { uid, resourceVersion, labels, annotations } = binding.metadata;
  const change = (pod: AnyObject): AnyObject => {
    if (uid && uid !== pod.metadata.uid) {
      throw statusErrors.conflict(
        bindings,
        name,
        `the UID in the precondition (${uid}) does not match the UID in record (${pod.metadata.uid}). The object might have been deleted and then recreated`,
      );
    }
    if (pod.metadata.deletionTimestamp !== undefined) {
      throw statusErrors.conflict(bindings, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    }
    const old = specOf(pod).nodeName;
    if (typeof old === 'string' && old !== '') {
      throw statusErrors.conflict(bindings, name, `pod ${name} is already assigned to node ${JSON.stringify(old)}`);
    }
    const scheduled = { type: 'PodScheduled', status: 'True', lastTransitionTime: formatTime(env.now()) };
    return {
      ...pod,
      metadata: {
        ...pod.metadata,
        ...(resourceVersion ? { resourceVersion } : {}),
        ...(labels === undefined ? {} : { labels: { ...pod.metadata.labels, ...labels } }),
        ...(annotations === undefined ? {} : { annotations: { ...pod.metadata.annotations, ...annotations } }),
      },
      spec: { ...specOf(pod), nodeName: node },
      status: {
        ...statusOf(pod),
        conditions: [...conditionsOf(pod).filter((c) => c.type !== 'PodScheduled'), scheduled],
      },
    };
  };
  return updateObject(env, pods, { namespace, name, part: 'binding', change }, call);
}

/**
 * Deletes a pod unless a PodDisruptionBudget forbids it (`pods/NAME/eviction`). The budget is counted from the pods at
 * this moment, so that no controller has to keep its status.
 */
export function evictPod(
  env: Env,
  pods: Resource,
  namespace: string,
  name: string,
  eviction: AnyObject,
  call: Call,
): Result {
  const pod = env.store.collection('/pods').get(`${namespace}/${name}`)?.object;
  if (pod === undefined) throw statusErrors.notFound(pods.api, name);
  const { phase } = statusOf(pod);
  const counts = phase === 'Running' && pod.metadata.deletionTimestamp === undefined;
  if (counts) checkBudgets(env, namespace, pod);
  const options = isRecord(eviction.deleteOptions) ? eviction.deleteOptions : {};
  try {
    return deleteObject(env, pods, namespace, name, options, call);
  } catch (error) {
    if (isStatus(error, 'Conflict')) throw statusErrors.conflict(pods.api, name);
    throw error;
  }
}

const isReady = (pod: AnyObject): boolean =>
  pod.metadata.deletionTimestamp === undefined &&
  conditionsOf(pod).some((c) => c.type === 'Ready' && c.status === 'True');

function checkBudgets(env: Env, namespace: string, pod: AnyObject): void {
  for (const { object: budget } of env.store.collection('policy/poddisruptionbudgets').list(namespace)) {
    const spec = specOf(budget);
    if (!matchLabelSelector(spec.selector as LabelSelector | undefined, pod.metadata.labels)) continue;
    const matched = env.store
      .collection('/pods')
      .list(namespace)
      .map((state) => state.object)
      .filter((p) => matchLabelSelector(spec.selector as LabelSelector, p.metadata.labels));
    const healthy = matched.filter(isReady).length;
    const needed =
      spec.maxUnavailable === undefined
        ? scaled(spec.minAvailable ?? 1, matched.length)
        : matched.length - scaled(spec.maxUnavailable, matched.length);
    if (isReady(pod) ? healthy - 1 >= needed : healthy >= needed) continue;
    throw new StatusError(
      failure('TooManyRequests', "Cannot evict pod as it would violate the pod's disruption budget.", {
        causes: [
          {
            reason: 'DisruptionBudget',
            message: `The disruption budget ${budget.metadata.name} needs ${needed} healthy pods and has ${healthy} currently`,
          },
        ],
      }),
    );
  }
}

/** A number, or a percentage of `total` rounded up. */
function scaled(value: unknown, total: number): number {
  const text = String(value);
  return text.endsWith('%') ? Math.ceil((Number(text.slice(0, -1)) * total) / 100) : Number(text);
}
