import type { Service } from '@weft/kube';
import { same } from '../validate/values.ts';

/** Questions that several steps of a Service ask. */
export const isHeadless = (s: Service): boolean => (s.spec.clusterIPs?.[0] ?? s.spec.clusterIP) === 'None';
export const needsClusterIp = (s: Service): boolean => s.spec.type !== 'ExternalName';
export const mayHaveNodePorts = (s: Service): boolean => s.spec.type === 'NodePort' || s.spec.type === 'LoadBalancer';
export const wantsNodePorts = (s: Service): boolean =>
  s.spec.type === 'NodePort' || (s.spec.type === 'LoadBalancer' && s.spec.allocateLoadBalancerNodePorts !== false);
export const needsHealthCheckPort = (s: Service): boolean =>
  s.spec.type === 'LoadBalancer' && s.spec.externalTrafficPolicy === 'Local';
export const isExternallyReachable = (s: Service): boolean =>
  mayHaveNodePorts(s) || (s.spec.type === 'ClusterIP' && (s.spec.externalIPs?.length ?? 0) > 0);

export const nodePortsOf = (s: Service): number[] =>
  (s.spec.ports ?? []).map((p) => p.nodePort ?? 0).filter((p) => p !== 0);

/** `namespace/name`: who holds an address or a port. */
export const ownerKey = (s: Service): string => `${s.metadata.namespace ?? ''}/${s.metadata.name}`;

/** clusterIPs follows clusterIP, which older clients write alone. */
export function normalizeClusterIps(next: Service, old: Service | undefined): void {
  const { spec } = next;
  if (old === undefined) {
    if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
    return;
  }
  const before = old.spec;
  const listUntouched = same(spec.clusterIPs ?? [], before.clusterIPs ?? []);
  if (before.clusterIP && !spec.clusterIP) {
    if (listUntouched) delete spec.clusterIPs;
  } else if (!before.clusterIP && spec.clusterIP) {
    if (!spec.clusterIPs?.length) spec.clusterIPs = [spec.clusterIP];
  } else if (before.clusterIP !== spec.clusterIP) {
    if (listUntouched && spec.clusterIPs?.length && spec.clusterIP) {
      spec.clusterIPs = [spec.clusterIP, ...spec.clusterIPs.slice(1)];
    }
  } else if (spec.clusterIP && !spec.clusterIPs?.length) spec.clusterIPs = before.clusterIPs ?? [spec.clusterIP];
}
