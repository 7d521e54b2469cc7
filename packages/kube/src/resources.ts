import { apiVersionOf, type KubeObject } from './object.ts';
import type * as k from './types/index.ts';

/**
 * One resource of the API: where its objects live in the URL space and what they are called.
 *
 * `T` is the type of its objects; it exists for inference only (`client.get(resources.pods, …)` is a Pod).
 */
export interface ResourceType<T extends KubeObject = KubeObject> {
  /** API group; empty for the core group. */
  readonly group: string;
  readonly version: string;
  /** Name in URLs, for example `endpointslices`. */
  readonly plural: string;
  readonly singular: string;
  readonly kind: string;
  readonly namespaced: boolean;
  readonly shortNames: readonly string[];
  /** Never present. Written as a method so that a ResourceType of unknown objects can stand in for a typed one. */
  objectType?(object: T): void;
}

function define<T extends KubeObject = KubeObject>(
  apiVersion: string,
  kind: string,
  plural: string,
  scope: 'namespaced' | 'cluster',
  ...shortNames: string[]
): ResourceType<T> {
  const slash = apiVersion.indexOf('/');
  return {
    group: slash < 0 ? '' : apiVersion.slice(0, slash),
    version: apiVersion.slice(slash + 1),
    plural,
    singular: kind.toLowerCase(),
    kind,
    namespaced: scope === 'namespaced',
    shortNames,
  };
}

/** The built-in resources, by plural name; names that two groups share carry the group (`eventsV1`). */
export const resources = {
  bindings: define<k.Binding>('v1', 'Binding', 'bindings', 'namespaced'),
  configmaps: define<k.ConfigMap>('v1', 'ConfigMap', 'configmaps', 'namespaced', 'cm'),
  endpoints: define<k.Endpoints>('v1', 'Endpoints', 'endpoints', 'namespaced', 'ep'),
  events: define<k.Event>('v1', 'Event', 'events', 'namespaced', 'ev'),
  limitranges: define('v1', 'LimitRange', 'limitranges', 'namespaced', 'limits'),
  namespaces: define<k.Namespace>('v1', 'Namespace', 'namespaces', 'cluster', 'ns'),
  nodes: define<k.Node>('v1', 'Node', 'nodes', 'cluster', 'no'),
  persistentvolumeclaims: define<k.PersistentVolumeClaim>(
    'v1',
    'PersistentVolumeClaim',
    'persistentvolumeclaims',
    'namespaced',
    'pvc',
  ),
  persistentvolumes: define('v1', 'PersistentVolume', 'persistentvolumes', 'cluster', 'pv'),
  pods: define<k.Pod>('v1', 'Pod', 'pods', 'namespaced', 'po'),
  podtemplates: define('v1', 'PodTemplate', 'podtemplates', 'namespaced'),
  replicationcontrollers: define('v1', 'ReplicationController', 'replicationcontrollers', 'namespaced', 'rc'),
  resourcequotas: define('v1', 'ResourceQuota', 'resourcequotas', 'namespaced', 'quota'),
  secrets: define<k.Secret>('v1', 'Secret', 'secrets', 'namespaced'),
  serviceaccounts: define<k.ServiceAccount>('v1', 'ServiceAccount', 'serviceaccounts', 'namespaced', 'sa'),
  services: define<k.Service>('v1', 'Service', 'services', 'namespaced', 'svc'),

  controllerrevisions: define<k.ControllerRevision>(
    'apps/v1',
    'ControllerRevision',
    'controllerrevisions',
    'namespaced',
  ),
  daemonsets: define<k.DaemonSet>('apps/v1', 'DaemonSet', 'daemonsets', 'namespaced', 'ds'),
  deployments: define<k.Deployment>('apps/v1', 'Deployment', 'deployments', 'namespaced', 'deploy'),
  replicasets: define<k.ReplicaSet>('apps/v1', 'ReplicaSet', 'replicasets', 'namespaced', 'rs'),
  statefulsets: define<k.StatefulSet>('apps/v1', 'StatefulSet', 'statefulsets', 'namespaced', 'sts'),

  cronjobs: define<k.CronJob>('batch/v1', 'CronJob', 'cronjobs', 'namespaced', 'cj'),
  jobs: define<k.Job>('batch/v1', 'Job', 'jobs', 'namespaced'),

  endpointslices: define<k.EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice', 'endpointslices', 'namespaced'),

  ingressclasses: define<k.IngressClass>('networking.k8s.io/v1', 'IngressClass', 'ingressclasses', 'cluster'),
  ingresses: define<k.Ingress>('networking.k8s.io/v1', 'Ingress', 'ingresses', 'namespaced', 'ing'),
  ipaddresses: define<k.IPAddress>('networking.k8s.io/v1', 'IPAddress', 'ipaddresses', 'cluster', 'ip'),
  networkpolicies: define<k.NetworkPolicy>(
    'networking.k8s.io/v1',
    'NetworkPolicy',
    'networkpolicies',
    'namespaced',
    'netpol',
  ),
  servicecidrs: define<k.ServiceCIDR>('networking.k8s.io/v1', 'ServiceCIDR', 'servicecidrs', 'cluster'),

  eventsV1: define<k.EventsV1Event>('events.k8s.io/v1', 'Event', 'events', 'namespaced', 'ev'),
  leases: define<k.Lease>('coordination.k8s.io/v1', 'Lease', 'leases', 'namespaced'),
  horizontalpodautoscalers: define(
    'autoscaling/v2',
    'HorizontalPodAutoscaler',
    'horizontalpodautoscalers',
    'namespaced',
    'hpa',
  ),
  poddisruptionbudgets: define('policy/v1', 'PodDisruptionBudget', 'poddisruptionbudgets', 'namespaced', 'pdb'),
  priorityclasses: define('scheduling.k8s.io/v1', 'PriorityClass', 'priorityclasses', 'cluster', 'pc'),
  runtimeclasses: define('node.k8s.io/v1', 'RuntimeClass', 'runtimeclasses', 'cluster'),
  storageclasses: define('storage.k8s.io/v1', 'StorageClass', 'storageclasses', 'cluster', 'sc'),

  clusterrolebindings: define('rbac.authorization.k8s.io/v1', 'ClusterRoleBinding', 'clusterrolebindings', 'cluster'),
  clusterroles: define('rbac.authorization.k8s.io/v1', 'ClusterRole', 'clusterroles', 'cluster'),
  rolebindings: define('rbac.authorization.k8s.io/v1', 'RoleBinding', 'rolebindings', 'namespaced'),
  roles: define('rbac.authorization.k8s.io/v1', 'Role', 'roles', 'namespaced'),

  tokenreviews: define('authentication.k8s.io/v1', 'TokenReview', 'tokenreviews', 'cluster'),
  apiservices: define('apiregistration.k8s.io/v1', 'APIService', 'apiservices', 'cluster'),
  customresourcedefinitions: define<k.CustomResourceDefinition>(
    'apiextensions.k8s.io/v1',
    'CustomResourceDefinition',
    'customresourcedefinitions',
    'cluster',
    'crd',
    'crds',
  ),
} as const;

/** The built-in resources as a list, core group first. */
export const allResources: readonly ResourceType[] = Object.values(resources);

/** The resource type of a kind outside the built-in table, for example one that a CustomResourceDefinition adds. */
export function resourceType<T extends KubeObject = KubeObject>(
  fields: Pick<ResourceType, 'group' | 'version' | 'plural' | 'kind' | 'namespaced'> & Partial<ResourceType>,
): ResourceType<T> {
  return { singular: fields.kind.toLowerCase(), shortNames: [], ...fields } as ResourceType<T>;
}

/** The built-in resource of `apiVersion` and `kind`, or undefined. */
export function resourceOfKind(apiVersion: string, kind: string): ResourceType | undefined {
  return allResources.find((r) => r.kind === kind && apiVersionOf(r.group, r.version) === apiVersion);
}

/** Finds a built-in resource the way kubectl does: plural, singular, short name or kind, optionally `.group`. */
export function findResource(name: string): ResourceType | undefined {
  const wanted = name.toLowerCase();
  const dot = wanted.indexOf('.');
  const base = dot < 0 ? wanted : wanted.slice(0, dot);
  const group = dot < 0 ? undefined : wanted.slice(dot + 1).replace(/^v\d+((alpha|beta)\d+)?\.?/, '');
  return allResources.find(
    (r) =>
      (r.plural === base || r.singular === base || r.shortNames.includes(base)) &&
      (group === undefined || r.group === group),
  );
}

/** `services`, or `ingresses.networking.k8s.io` outside the core group: how Kubernetes names a resource in messages. */
export function groupResource(type: Pick<ResourceType, 'group' | 'plural'>): string {
  return type.group === '' ? type.plural : `${type.plural}.${type.group}`;
}

/** URL path of a collection, of an object, or of a subresource of an object; every part is percent-encoded. */
export function resourcePath(
  type: ResourceType,
  namespace: string | undefined,
  name?: string,
  subresource?: string,
): string {
  let path = type.group === '' ? `/api/${type.version}` : `/apis/${type.group}/${type.version}`;
  if (type.namespaced && namespace) path += `/namespaces/${encodeURIComponent(namespace)}`;
  path += `/${type.plural}`;
  if (name !== undefined) path += `/${encodeURIComponent(name)}`;
  if (subresource !== undefined) path += `/${subresource}`;
  return path;
}
