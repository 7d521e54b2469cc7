import * as cluster from './cluster-kinds.ts';
import { configMapRules } from './config-map.ts';
import { cronJobRules } from './cron-job.ts';
import { customResourceDefinitionRules } from './custom-resource-definition.ts';
import { daemonSetRules } from './daemon-set.ts';
import { deploymentRules } from './deployment.ts';
import { endpointSliceRules } from './endpoint-slice.ts';
import { endpointsRules } from './endpoints.ts';
import { eventRules } from './event.ts';
import { ingressClassRules, ingressRules } from './ingress.ts';
import { jobRules } from './job.ts';
import { leaseRules } from './lease.ts';
import { namespaceRules } from './namespace.ts';
import { networkPolicyRules } from './network-policy.ts';
import { nodeRules } from './node.ts';
import { podRules } from './pod/index.ts';
import { bindingRules, roleRules } from './rbac.ts';
import { replicaSetRules, replicationControllerRules } from './replica-set.ts';
import { secretRules } from './secret.ts';
import { statefulSetRules } from './stateful-set.ts';
import * as storage from './storage.ts';
import { type KindRules, keepsStatus, rules } from './strategy.ts';

const generation: KindRules = { hasGeneration: true };
const withStatus: KindRules = rules({ ...keepsStatus() });

/** Rules by `group/plural`; kinds that are not here are stored as they come. */
export const kindRules: Readonly<Record<string, KindRules>> = {
  '/configmaps': configMapRules,
  '/endpoints': endpointsRules,
  '/events': eventRules,
  '/namespaces': namespaceRules,
  '/nodes': nodeRules,
  '/persistentvolumeclaims': storage.persistentVolumeClaimRules,
  '/persistentvolumes': storage.persistentVolumeRules,
  '/pods': podRules,
  '/replicationcontrollers': replicationControllerRules,
  '/resourcequotas': withStatus,
  '/secrets': secretRules,
  'admissionregistration.k8s.io/mutatingadmissionpolicies': generation,
  'admissionregistration.k8s.io/mutatingadmissionpolicybindings': generation,
  'admissionregistration.k8s.io/mutatingwebhookconfigurations': generation,
  'admissionregistration.k8s.io/validatingadmissionpolicies': { ...generation, ...withStatus },
  'admissionregistration.k8s.io/validatingadmissionpolicybindings': generation,
  'admissionregistration.k8s.io/validatingwebhookconfigurations': generation,
  'apiextensions.k8s.io/customresourcedefinitions': customResourceDefinitionRules,
  'apps/daemonsets': daemonSetRules,
  'apps/deployments': deploymentRules,
  'apps/replicasets': replicaSetRules,
  'apps/statefulsets': statefulSetRules,
  'autoscaling/horizontalpodautoscalers': cluster.horizontalPodAutoscalerRules,
  'batch/cronjobs': cronJobRules,
  'batch/jobs': jobRules,
  'certificates.k8s.io/certificatesigningrequests': withStatus,
  'coordination.k8s.io/leases': leaseRules,
  'discovery.k8s.io/endpointslices': endpointSliceRules,
  'events.k8s.io/events': eventRules,
  'networking.k8s.io/ingressclasses': ingressClassRules,
  'networking.k8s.io/ingresses': ingressRules,
  'networking.k8s.io/ipaddresses': cluster.ipAddressRules,
  'networking.k8s.io/networkpolicies': networkPolicyRules,
  'networking.k8s.io/servicecidrs': cluster.serviceCidrRules,
  'node.k8s.io/runtimeclasses': cluster.runtimeClassRules,
  'policy/poddisruptionbudgets': cluster.podDisruptionBudgetRules,
  'rbac.authorization.k8s.io/clusterrolebindings': bindingRules(false),
  'rbac.authorization.k8s.io/clusterroles': roleRules(false),
  'rbac.authorization.k8s.io/rolebindings': bindingRules(true),
  'rbac.authorization.k8s.io/roles': roleRules(true),
  'scheduling.k8s.io/priorityclasses': cluster.priorityClassRules,
  'storage.k8s.io/storageclasses': storage.storageClassRules,
  'storage.k8s.io/volumeattachments': withStatus,
};
