/** Labels, annotations, taints and names with a fixed meaning (kubernetes.io/docs/reference/labels-annotations-taints). */
export const labels = {
  hostname: 'kubernetes.io/hostname',
  os: 'kubernetes.io/os',
  arch: 'kubernetes.io/arch',
  zone: 'topology.kubernetes.io/zone',
  region: 'topology.kubernetes.io/region',
  namespaceName: 'kubernetes.io/metadata.name',
  appName: 'app.kubernetes.io/name',
  appManagedBy: 'app.kubernetes.io/managed-by',
  /** On an EndpointSlice: the Service it belongs to. */
  serviceName: 'kubernetes.io/service-name',
  /** On an EndpointSlice: who writes it. */
  endpointSliceManagedBy: 'endpointslice.kubernetes.io/managed-by',
  /** On Endpoints: do not mirror into EndpointSlices. */
  skipMirror: 'endpointslice.kubernetes.io/skip-mirror',
  /** On Endpoints and slices: the Service is headless. */
  headless: 'service.kubernetes.io/headless',
  /** On a Service: another proxy handles it. */
  serviceProxyName: 'service.kubernetes.io/service-proxy-name',
  /** On a Node: keep it out of load balancers. */
  excludeFromExternalLoadBalancers: 'node.kubernetes.io/exclude-from-external-load-balancers',
  controlPlaneRole: 'node-role.kubernetes.io/control-plane',
  podTemplateHash: 'pod-template-hash',
  controllerRevisionHash: 'controller-revision-hash',
  statefulSetPodName: 'statefulset.kubernetes.io/pod-name',
  podIndex: 'apps.kubernetes.io/pod-index',
  jobName: 'batch.kubernetes.io/job-name',
  ipAddressFamily: 'ipaddress.kubernetes.io/ip-family',
  ipAddressManagedBy: 'ipaddress.kubernetes.io/managed-by',
} as const;

export const annotations = {
  lastAppliedConfiguration: 'kubectl.kubernetes.io/last-applied-configuration',
  /** On Endpoints and slices: when the change that caused this version happened (RFC 3339). */
  endpointsLastChangeTriggerTime: 'endpoints.kubernetes.io/last-change-trigger-time',
  endpointsOverCapacity: 'endpoints.kubernetes.io/over-capacity',
  topologyMode: 'service.kubernetes.io/topology-mode',
  /** On an IngressClass or StorageClass. */
  isDefaultIngressClass: 'ingressclass.kubernetes.io/is-default-class',
  /** On an Ingress: its class, before `spec.ingressClassName`. */
  ingressClass: 'kubernetes.io/ingress.class',
  deploymentRevision: 'deployment.kubernetes.io/revision',
  deploymentDesiredReplicas: 'deployment.kubernetes.io/desired-replicas',
  deploymentMaxReplicas: 'deployment.kubernetes.io/max-replicas',
  podDeletionCost: 'controller.kubernetes.io/pod-deletion-cost',
  restartedAt: 'kubectl.kubernetes.io/restartedAt',
  defaultContainer: 'kubectl.kubernetes.io/default-container',
} as const;

export const taints = {
  notReady: 'node.kubernetes.io/not-ready',
  unreachable: 'node.kubernetes.io/unreachable',
  unschedulable: 'node.kubernetes.io/unschedulable',
  networkUnavailable: 'node.kubernetes.io/network-unavailable',
  memoryPressure: 'node.kubernetes.io/memory-pressure',
  diskPressure: 'node.kubernetes.io/disk-pressure',
  pidPressure: 'node.kubernetes.io/pid-pressure',
  controlPlane: 'node-role.kubernetes.io/control-plane',
} as const;

export const finalizers = {
  foregroundDeletion: 'foregroundDeletion',
  orphan: 'orphan',
  /** The one of Namespaces, in `spec.finalizers`. */
  kubernetes: 'kubernetes',
  loadBalancerCleanup: 'service.kubernetes.io/load-balancer-cleanup',
} as const;

/** Values of the label `endpointslice.kubernetes.io/managed-by`. */
export const endpointSliceManagers = {
  controller: 'endpointslice-controller.k8s.io',
  mirroring: 'endpointslicemirroring-controller.k8s.io',
} as const;

/** The namespace of node leases. */
export const NODE_LEASE_NAMESPACE = 'kube-node-lease';
