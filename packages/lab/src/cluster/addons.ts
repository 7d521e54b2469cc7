import { type DnsManifest, dnsManifests } from '@weft/dns/deploy';
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

/** Cluster DNS as an ordinary workload of the cluster: what deploy/dns.yaml installs elsewhere, with one replica. */
export function labDnsManifests(config: ClusterConfig, corefile: string): DnsManifest[] {
  return dnsManifests({
    image: SELF_IMAGE,
    replicas: 1,
    clusterIP: dnsServiceIp(config),
    corefile,
    tolerations: [{ operator: 'Exists' }],
  });
}

/** The workload that `weft up` starts to show that the cluster works: two web servers behind a Service. */
export function demoManifests(): DnsManifest[] {
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
