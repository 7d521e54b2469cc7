import type { ApiResource, KindStrategy } from '../contract.ts';
import * as cluster from './cluster.ts';
import * as config from './config.ts';
import * as network from './network.ts';
import * as nodes from './nodes.ts';
import { pods } from './pods.ts';
import { age, name, type Printer, printer } from './printer.ts';
import * as rbac from './rbac.ts';
import * as services from './services.ts';
import * as storage from './storage.ts';
import * as workloads from './workloads.ts';

const plain = printer(name, age);

/** The table of the subresource `scale`. */
export const scalePrinter: Pick<KindStrategy, 'columns' | 'cells'> = workloads.scales as Printer;

/** By `group/plural`; kinds that are not here show name and age. */
const printers: Readonly<Record<string, unknown>> = {
  '/configmaps': config.configMaps,
  '/endpoints': services.endpoints,
  '/events': config.events,
  '/limitranges': config.limitRanges,
  '/namespaces': nodes.namespaces,
  '/nodes': nodes.nodes,
  '/persistentvolumeclaims': storage.persistentVolumeClaims,
  '/persistentvolumes': storage.persistentVolumes,
  '/pods': pods,
  '/podtemplates': workloads.podTemplates,
  '/replicationcontrollers': workloads.replicationControllers,
  '/resourcequotas': config.resourceQuotas,
  '/secrets': config.secrets,
  '/serviceaccounts': config.serviceAccounts,
  '/services': services.services,
  'admissionregistration.k8s.io/mutatingadmissionpolicies': cluster.mutatingAdmissionPolicies,
  'admissionregistration.k8s.io/mutatingadmissionpolicybindings': cluster.admissionPolicyBindings,
  'admissionregistration.k8s.io/mutatingwebhookconfigurations': cluster.webhookConfigurations,
  'admissionregistration.k8s.io/validatingadmissionpolicies': cluster.validatingAdmissionPolicies,
  'admissionregistration.k8s.io/validatingadmissionpolicybindings': cluster.admissionPolicyBindings,
  'admissionregistration.k8s.io/validatingwebhookconfigurations': cluster.webhookConfigurations,
  'apiextensions.k8s.io/customresourcedefinitions': cluster.customResourceDefinitions,
  'apps/controllerrevisions': workloads.controllerRevisions,
  'apps/daemonsets': workloads.daemonSets,
  'apps/deployments': workloads.deployments,
  'apps/replicasets': workloads.replicaSets,
  'apps/statefulsets': workloads.statefulSets,
  'autoscaling/horizontalpodautoscalers': cluster.horizontalPodAutoscalers,
  'batch/cronjobs': workloads.cronJobs,
  'batch/jobs': workloads.jobs,
  'certificates.k8s.io/certificatesigningrequests': cluster.certificateSigningRequests,
  'coordination.k8s.io/leases': config.leases,
  'discovery.k8s.io/endpointslices': services.endpointSlices,
  'events.k8s.io/events': config.events,
  'networking.k8s.io/ingressclasses': network.ingressClasses,
  'networking.k8s.io/ingresses': network.ingresses,
  'networking.k8s.io/ipaddresses': network.ipAddresses,
  'networking.k8s.io/networkpolicies': network.networkPolicies,
  'networking.k8s.io/servicecidrs': network.serviceCidrs,
  'node.k8s.io/runtimeclasses': cluster.runtimeClasses,
  'policy/poddisruptionbudgets': cluster.podDisruptionBudgets,
  'rbac.authorization.k8s.io/clusterrolebindings': rbac.bindings,
  'rbac.authorization.k8s.io/clusterroles': rbac.roles,
  'rbac.authorization.k8s.io/rolebindings': rbac.bindings,
  'rbac.authorization.k8s.io/roles': rbac.roles,
  'scheduling.k8s.io/priorityclasses': cluster.priorityClasses,
  'storage.k8s.io/csidrivers': storage.csiDrivers,
  'storage.k8s.io/csinodes': storage.csiNodes,
  'storage.k8s.io/storageclasses': storage.storageClasses,
  'storage.k8s.io/volumeattachments': storage.volumeAttachments,
};

/** The table of a kind, as kubectl shows it. */
export function printerOf(resource: Pick<ApiResource, 'group' | 'plural'>): Pick<KindStrategy, 'columns' | 'cells'> {
  // Each printer is written for the one kind whose objects the server will hand to it.
  return (printers[`${resource.group}/${resource.plural}`] as Printer | undefined) ?? plain;
}
