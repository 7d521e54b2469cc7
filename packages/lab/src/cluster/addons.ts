import { addressAt, formatIp, parsePrefix, type Prefix } from '@weft/net';
import type { ClusterConfig } from './config.ts';

/** Image that holds Weft itself, made on the machine; see images/. */
export const SELF_IMAGE = 'weft.local/weft:local';

/** Offsets in the Service CIDR, as kubeadm chooses them. */
const KUBERNETES_OFFSET = 1;
const DNS_OFFSET = 10;

function serviceAddress(config: ClusterConfig, offset: number): string {
  return formatIp(addressAt(parsePrefix(config.serviceCidr) as Prefix, offset));
}

/** ClusterIP of the `kubernetes` Service. */
export function kubernetesServiceIp(config: ClusterConfig): string {
  return serviceAddress(config, KUBERNETES_OFFSET);
}

/** ClusterIP of cluster DNS: what pods have in resolv.conf. */
export function dnsServiceIp(config: ClusterConfig): string {
  return serviceAddress(config, DNS_OFFSET);
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly labels?: Record<string, string> };
  readonly [field: string]: unknown;
}

/** Cluster DNS as an ordinary workload of the cluster: ConfigMap, Deployment and the kube-dns Service. */
export function dnsManifests(config: ClusterConfig, corefile: string): Manifest[] {
  const labels = { 'k8s-app': 'kube-dns' };
  const named = (name: string): Manifest['metadata'] => ({ name, namespace: 'kube-system', labels });
  return [
    { apiVersion: 'v1', kind: 'ServiceAccount', metadata: named('weft-dns') },
    { apiVersion: 'v1', kind: 'ConfigMap', metadata: named('weft-dns'), data: { Corefile: corefile } },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: {
        name: 'kube-dns',
        namespace: 'kube-system',
        labels: { ...labels, 'kubernetes.io/cluster-service': 'true', 'kubernetes.io/name': 'CoreDNS' },
      },
      spec: {
        clusterIP: dnsServiceIp(config),
        selector: labels,
        ports: [
          { name: 'dns', port: 53, protocol: 'UDP', targetPort: 53 },
          { name: 'dns-tcp', port: 53, protocol: 'TCP', targetPort: 53 },
          { name: 'metrics', port: 9153, protocol: 'TCP', targetPort: 9153 },
        ],
      },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: named('weft-dns'),
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            serviceAccountName: 'weft-dns',
            // The node's resolver, not its own ClusterIP.
            dnsPolicy: 'Default',
            tolerations: [{ operator: 'Exists' }],
            containers: [
              {
                name: 'dns',
                image: SELF_IMAGE,
                args: ['dns', '-conf', '/etc/weft-dns/Corefile'],
                ports: [
                  { name: 'dns', containerPort: 53, protocol: 'UDP' },
                  { name: 'dns-tcp', containerPort: 53, protocol: 'TCP' },
                  { name: 'metrics', containerPort: 9153, protocol: 'TCP' },
                ],
                readinessProbe: { httpGet: { path: '/ready', port: 8181 }, periodSeconds: 1 },
                livenessProbe: {
                  httpGet: { path: '/health', port: 8080 },
                  initialDelaySeconds: 60,
                  timeoutSeconds: 5,
                  failureThreshold: 5,
                },
                volumeMounts: [{ name: 'config', mountPath: '/etc/weft-dns', readOnly: true }],
              },
            ],
            volumes: [{ name: 'config', configMap: { name: 'weft-dns' } }],
          },
        },
      },
    },
  ];
}

/** The workload that `weft up` starts to show that the cluster works: two web servers behind a Service. */
export function demoManifests(): Manifest[] {
  const labels = { app: 'web' };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name: 'web', namespace: 'default', labels },
      spec: {
        replicas: 2,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              { name: 'nginx', image: 'nginx', imagePullPolicy: 'IfNotPresent', ports: [{ containerPort: 80 }] },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: 'web', namespace: 'default', labels },
      spec: { selector: labels, ports: [{ port: 80, targetPort: 80 }] },
    },
  ];
}
