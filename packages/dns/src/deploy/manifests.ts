/** What differs between clusters. */
export interface DnsManifestOptions {
  /** Image whose entry point is the `weft` command. */
  readonly image: string;
  /** Default 2. */
  readonly replicas?: number;
  /** ClusterIP of the `kube-dns` Service. Without it the Service keeps the one it has, or gets any. */
  readonly clusterIP?: string;
  /** The Corefile. Without it no ConfigMap is made: the cluster's own `coredns` stays as it is. */
  readonly corefile?: string;
  /** Where the pods may run beside ordinary nodes. Default: the control plane, as kubeadm has it. */
  readonly tolerations?: readonly Readonly<Record<string, string>>[];
}

/** An API object as a manifest gives it. */
export interface DnsManifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly [field: string]: unknown;
}

const NAMESPACE = 'kube-system';
const SELECTOR = { 'k8s-app': 'kube-dns' };
/** kubeadm's names: what people type, and what is replaced, keeps its name. */
const NAME = 'coredns';
const ROLE = 'system:coredns';

const READ = (apiGroups: string[], resources: string[]): object => ({ apiGroups, resources, verbs: ['list', 'watch'] });

function access(): DnsManifest[] {
  const labels = { 'kubernetes.io/bootstrapping': 'rbac-defaults' };
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: NAME, namespace: NAMESPACE } },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRole',
      metadata: { name: ROLE, labels },
      rules: [
        READ([''], ['endpoints', 'services', 'pods', 'namespaces']),
        READ(['discovery.k8s.io'], ['endpointslices']),
      ],
    },
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'ClusterRoleBinding',
      metadata: { name: ROLE, labels },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: ROLE },
      subjects: [{ kind: 'ServiceAccount', name: NAME, namespace: NAMESPACE }],
    },
  ];
}

function service(clusterIP: string | undefined): DnsManifest {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: {
      name: 'kube-dns',
      namespace: NAMESPACE,
      labels: { ...SELECTOR, 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
    },
    spec: {
      ...(clusterIP === undefined ? {} : { clusterIP }),
      selector: SELECTOR,
      ports: [
        { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
        { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
        { name: 'metrics', port: 9153, protocol: 'TCP', targetPort: 9153 },
      ],
    },
  };
}

function container(options: DnsManifestOptions): object {
  return {
    name: NAME,
    image: options.image,
    imagePullPolicy: 'IfNotPresent',
    // Only who may forward ports of the pod reaches its loopback: `weft dns query` and `weft dns top`.
    args: ['dns', '-conf', '/etc/coredns/Corefile', '-inspect', '127.0.0.1:9154'],
    resources: { limits: { memory: '170Mi' }, requests: { cpu: '100m', memory: '70Mi' } },
    ports: [
      { name: 'dns', containerPort: 53, protocol: 'UDP' },
      { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
      { name: 'metrics', containerPort: 9153, protocol: 'TCP' },
    ],
    livenessProbe: {
      httpGet: { path: '/health', port: 8080, scheme: 'HTTP' },
      initialDelaySeconds: 60,
      timeoutSeconds: 5,
      successThreshold: 1,
      failureThreshold: 5,
    },
    readinessProbe: {
      httpGet: { path: '/ready', port: 8181, scheme: 'HTTP' },
      // A pod that ends says that it is not ready and answers on for the lameduck time of 5 s. Only when the kubelet has
      // noticed do proxies move the UDP flows of clients that keep their socket.
      periodSeconds: 1,
      failureThreshold: 2,
    },
    securityContext: {
      allowPrivilegeEscalation: false,
      capabilities: { add: ['NET_BIND_SERVICE'], drop: ['ALL'] },
      readOnlyRootFilesystem: true,
    },
    volumeMounts: [{ name: 'config-volume', mountPath: '/etc/coredns', readOnly: true }],
  };
}

function podSpec(options: DnsManifestOptions): object {
  return {
    priorityClassName: 'system-cluster-critical',
    serviceAccountName: NAME,
    // The node's resolver: with its own ClusterIP it would forward to itself.
    dnsPolicy: 'Default',
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    tolerations: options.tolerations ?? [
      { key: 'CriticalAddonsOnly', operator: 'Exists' },
      { key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' },
    ],
    affinity: {
      podAntiAffinity: {
        preferredDuringSchedulingIgnoredDuringExecution: [
          {
            weight: 100,
            podAffinityTerm: {
              labelSelector: { matchExpressions: [{ key: 'k8s-app', operator: 'In', values: ['kube-dns'] }] },
              topologyKey: 'kubernetes.io/hostname',
            },
          },
        ],
      },
    },
    topologySpreadConstraints: [
      {
        maxSkew: 1,
        topologyKey: 'topology.kubernetes.io/zone',
        whenUnsatisfiable: 'ScheduleAnyway',
        labelSelector: { matchLabels: SELECTOR },
      },
    ],
    containers: [container(options)],
    volumes: [{ name: 'config-volume', configMap: { name: NAME, items: [{ key: 'Corefile', path: 'Corefile' }] } }],
  };
}

/**
 * Cluster DNS as kubeadm installs it, with Weft in the place of CoreDNS: same names, Service, ConfigMap, rights, probes
 * and ports, so that applying it over CoreDNS is a rolling update.
 */
export function dnsManifests(options: DnsManifestOptions): DnsManifest[] {
  const { corefile, replicas = 2 } = options;
  return [
    ...access(),
    ...(corefile === undefined
      ? []
      : [
          {
            apiVersion: 'v1',
            kind: 'ConfigMap',
            metadata: { name: NAME, namespace: NAMESPACE },
            data: { Corefile: corefile },
          },
        ]),
    service(options.clusterIP),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: NAME, namespace: NAMESPACE, labels: { ...SELECTOR, 'kubernetes.io/name': 'CoreDNS' } },
      spec: {
        replicas,
        // The new pod answers before an old one goes, also when there is only one.
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } },
        selector: { matchLabels: SELECTOR },
        template: { metadata: { labels: SELECTOR }, spec: podSpec(options) },
      },
    },
  ];
}
