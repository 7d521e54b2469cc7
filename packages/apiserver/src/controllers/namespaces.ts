import { isStatus } from '@weft/kube';
import { type Env, internalCall } from '../registry/context.ts';
import { deleteObject } from '../registry/delete.ts';
import { updateObject } from '../registry/update.ts';
import type { AnyObject } from '../store/stored.ts';
import { builtin, ensure } from './objects.ts';
import { isRecord } from '../registry/json.ts';

const SYSTEM = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
const ROOT_CA = 'kube-root-ca.crt';

/** The namespaces that every cluster has. */
export function ensureNamespaces(env: Env): void {
  for (const name of SYSTEM) {
    ensure(env, builtin(env, '', 'v1', 'namespaces'), { apiVersion: 'v1', kind: 'Namespace', metadata: { name } });
  }
}

/** The priority classes that every cluster has. */
export function ensurePriorityClasses(env: Env): void {
  const classes: [name: string, value: number, description: string][] = [
    ['system-cluster-critical', 2_000_000_000, 'must not be scheduled away from, but may move to another node'],
    ['system-node-critical', 2_000_001_000, 'must not move from its node'],
  ];
  for (const [name, value, description] of classes) {
    ensure(env, builtin(env, 'scheduling.k8s.io', 'v1', 'priorityclasses'), {
      apiVersion: 'scheduling.k8s.io/v1',
      kind: 'PriorityClass',
      metadata: { name },
      value,
      description: `A pod that ${description}.`,
      preemptionPolicy: 'PreemptLowerPriority',
    });
  }
}

/** What every living namespace holds: the ServiceAccount `default` and the CA certificate for its pods. */
export function fillNamespace(env: Env, name: string, caPem: string): void {
  const namespace = env.store.collection('/namespaces').get(name);
  if (namespace === undefined || namespace.object.metadata.deletionTimestamp !== undefined) return;
  ensure(env, builtin(env, '', 'v1', 'serviceaccounts'), {
    apiVersion: 'v1',
    kind: 'ServiceAccount',
    metadata: { name: 'default', namespace: name },
  });
  const resource = builtin(env, '', 'v1', 'configmaps');
  const data = { 'ca.crt': caPem };
  const made = ensure(env, resource, {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: ROOT_CA,
      namespace: name,
      annotations: {
        'kubernetes.io/description':
          'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
      },
    },
    data,
  });
  if (made !== undefined) return;
  updateObject(
    env,
    resource,
    { namespace: name, name: ROOT_CA, part: 'all', change: (current) => ({ ...current, data }) },
    internalCall(),
  );
}

/**
 * One step in emptying a namespace that is being deleted: deletes what is left, says in its status what is in the way,
 * and lets the namespace go when there is nothing. True when it has to be called again after another change.
 */
export function emptyNamespace(env: Env, name: string): boolean {
  const entry = env.store.collection('/namespaces').get(name);
  if (entry === undefined || entry.object.metadata.deletionTimestamp === undefined) return false;
  const waiting = new Map<string, number>();
  const finalizers = new Map<string, number>();
  for (const resource of env.table.stored()) {
    if (!resource.api.namespaced || !resource.api.verbs.includes('delete')) continue;
    for (const state of env.store.collection(resource.storage).list(name)) {
      const { metadata } = state.object;
      if (metadata.deletionTimestamp === undefined) deleteQuietly(env, resource, name, metadata.name);
      const left = env.store.collection(resource.storage).get(state.key)?.object;
      if (left === undefined) continue;
      // The dot stands before the empty group of core resources as well.
      const kind = `${resource.api.plural}.${resource.api.group}`;
      waiting.set(kind, (waiting.get(kind) ?? 0) + 1);
      for (const f of left.metadata.finalizers ?? []) finalizers.set(f, (finalizers.get(f) ?? 0) + 1);
    }
  }
  if (waiting.size > 0) {
    setConditions(env, entry.object, waiting, finalizers);
    return true;
  }
  const rest = isRecord(entry.object.spec) ? ((entry.object.spec.finalizers ?? []) as string[]) : [];
  if (rest.includes('kubernetes')) {
    updateObject(
      env,
      builtin(env, '', 'v1', 'namespaces'),
      {
        namespace: undefined,
        name,
        part: 'finalize',
        change: (current) => ({
          ...current,
          spec: { ...(current.spec as object), finalizers: rest.filter((f) => f !== 'kubernetes') },
        }),
      },
      internalCall(),
    );
  }
  return false;
}

function deleteQuietly(env: Env, resource: Parameters<typeof deleteObject>[1], namespace: string, name: string): void {
  try {
    deleteObject(env, resource, namespace, name, { propagationPolicy: 'Background' }, internalCall());
  } catch (error) {
    if (!isStatus(error, 'NotFound')) {
      env.log.warn('an object of a namespace that is being deleted could not be deleted', {
        resource: resource.storage,
        namespace,
        name,
        error,
      });
    }
  }
}

/** What cannot go wrong here, said as Kubernetes says it: `type, status, reason, message`. */
const NOTHING_FAILED = [
  ['NamespaceDeletionDiscoveryFailure', 'False', 'ResourcesDiscovered', 'All resources successfully discovered'],
  [
    'NamespaceDeletionGroupVersionParsingFailure',
    'False',
    'ParsedGroupVersions',
    'All legacy kube types successfully parsed',
  ],
  [
    'NamespaceDeletionContentFailure',
    'False',
    'ContentDeleted',
    'All content successfully deleted, may be waiting on finalization',
  ],
] as const;

/** The conditions that `kubectl describe namespace` shows of a namespace that does not go away. */
function setConditions(
  env: Env,
  namespace: AnyObject,
  waiting: ReadonlyMap<string, number>,
  finalizers: ReadonlyMap<string, number>,
): void {
  const list = (counts: ReadonlyMap<string, number>, has: string): string =>
    [...counts]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([what, n]) => `${what} ${has} ${n} resource instances`)
      .join(', ');
  const wanted: readonly (readonly [type: string, status: string, reason: string, message: string])[] = [
    ...NOTHING_FAILED,
    [
      'NamespaceContentRemaining',
      'True',
      'SomeResourcesRemain',
      `Some resources are remaining: ${list(waiting, 'has')}`,
    ],
    finalizers.size === 0
      ? [
          'NamespaceFinalizersRemaining',
          'False',
          'ContentHasNoFinalizers',
          'All content-preserving finalizers finished',
        ]
      : [
          'NamespaceFinalizersRemaining',
          'True',
          'SomeFinalizersRemain',
          `Some content in the namespace has finalizers remaining: ${list(finalizers, 'in')}`,
        ],
  ];
  const now = `${env.now().toISOString().slice(0, 19)}Z`;
  updateObject(
    env,
    builtin(env, '', 'v1', 'namespaces'),
    {
      namespace: undefined,
      name: namespace.metadata.name,
      part: 'status',
      change: (current) => {
        const status = (isRecord(current.status) ? current.status : {}) as {
          conditions?: { type: string; status: string; lastTransitionTime: string }[];
        };
        const conditions = wanted.map(([type, value, reason, message]) => {
          const old = status.conditions?.find((c) => c.type === type && c.status === value);
          return { type, status: value, reason, message, lastTransitionTime: old?.lastTransitionTime ?? now };
        });
        return { ...current, status: { ...status, conditions } };
      },
    },
    internalCall(),
  );
}
