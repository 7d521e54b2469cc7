import type { Service } from '@weft/kube';
import { same } from '../validate/values.ts';
import {
  isExternallyReachable,
  mayHaveNodePorts,
  needsClusterIp,
  needsHealthCheckPort,
  nodePortsOf,
  normalizeClusterIps,
} from './shape.ts';

/** Seconds a client stays with its endpoint under ClientIP affinity. */
const AFFINITY_SECONDS = 10_800;

export function defaultService(service: Service): void {
  const spec = (service.spec ??= {});
  spec.sessionAffinity ||= 'None';
  if (spec.sessionAffinity === 'None') delete spec.sessionAffinityConfig;
  else if (spec.sessionAffinity === 'ClientIP' && spec.sessionAffinityConfig?.clientIP?.timeoutSeconds === undefined) {
    spec.sessionAffinityConfig = { clientIP: { timeoutSeconds: AFFINITY_SECONDS } };
  }
  spec.type ||= 'ClusterIP';
  for (const port of spec.ports ?? []) {
    port.protocol ||= 'TCP';
    if (port.targetPort === undefined || port.targetPort === 0 || port.targetPort === '') port.targetPort = port.port;
    if (port.nodePort === 0) delete port.nodePort;
  }
  if (isExternallyReachable(service)) spec.externalTrafficPolicy ||= 'Cluster';
  if (['ClusterIP', 'NodePort', 'LoadBalancer'].includes(spec.type)) spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  if (spec.clusterIPs?.length === 0) delete spec.clusterIPs;
  if (spec.clusterIP === '') delete spec.clusterIP;
  defaultServiceStatus(service);
}

/** KEP-1860: an address of a balancer is a VIP unless its controller says otherwise. */
export function defaultServiceStatus(service: Service): void {
  for (const ingress of service.status?.loadBalancer?.ingress ?? []) if (ingress.ip) ingress.ipMode ??= 'VIP';
}

/** What a client left out of an update although the server once chose it: addresses and ports stay. */
function keepAllocated(next: Service, old: Service): void {
  if (needsClusterIp(old) && needsClusterIp(next)) {
    if (!next.spec.clusterIP && old.spec.clusterIP) next.spec.clusterIP = old.spec.clusterIP;
    if (!next.spec.clusterIPs?.length && old.spec.clusterIPs && next.spec.clusterIP === old.spec.clusterIP) {
      next.spec.clusterIPs = old.spec.clusterIPs;
    }
    if (!next.spec.ipFamilies?.length && old.spec.ipFamilies) next.spec.ipFamilies = old.spec.ipFamilies;
    if (!next.spec.ipFamilyPolicy && old.spec.ipFamilyPolicy) next.spec.ipFamilyPolicy = old.spec.ipFamilyPolicy;
  }
  if (mayHaveNodePorts(old) && mayHaveNodePorts(next)) {
    const used = new Set(nodePortsOf(old).filter((port) => nodePortsOf(next).includes(port)));
    const byName = new Map((old.spec.ports ?? []).map((p) => [p.name ?? '', p.nodePort]));
    for (const port of next.spec.ports ?? []) {
      const before = byName.get(port.name ?? '');
      if (!port.nodePort && before && !used.has(before)) {
        port.nodePort = before;
        used.add(before);
      }
    }
  }
  if (needsHealthCheckPort(old) && needsHealthCheckPort(next) && !next.spec.healthCheckNodePort) {
    if (old.spec.healthCheckNodePort) next.spec.healthCheckNodePort = old.spec.healthCheckNodePort;
  }
}

/** Drops fields that lost their meaning with a change of type, unless the client changed them as well. */
function dropForType(next: Service, old: Service): void {
  const { spec } = next;
  const unchanged = (key: keyof Service['spec']): boolean => same(spec[key], old.spec[key]);
  const dropUnchanged = (...keys: (keyof Service['spec'])[]): void => {
    for (const key of keys) if (unchanged(key)) delete spec[key];
  };
  if (needsClusterIp(old) && !needsClusterIp(next)) {
    if (unchanged('clusterIP') && unchanged('clusterIPs')) dropUnchanged('clusterIPs', 'clusterIP');
    dropUnchanged('ipFamilies', 'ipFamilyPolicy');
  }
  if (mayHaveNodePorts(old) && !mayHaveNodePorts(next)) {
    const before = nodePortsOf(old);
    if (nodePortsOf(next).every((port) => before.includes(port))) {
      for (const port of spec.ports ?? []) delete port.nodePort;
    }
  }
  if (needsHealthCheckPort(old) && !needsHealthCheckPort(next)) dropUnchanged('healthCheckNodePort');
  if (old.spec.type === 'LoadBalancer' && spec.type !== 'LoadBalancer') {
    dropUnchanged('allocateLoadBalancerNodePorts', 'loadBalancerClass', 'loadBalancerSourceRanges');
  }
  if (isExternallyReachable(old) && !isExternallyReachable(next)) dropUnchanged('externalTrafficPolicy');
}

/** A change to SingleStack gives up the second family when the client left the lists as they were. */
function trimToSingleStack(next: Service, old: Service): void {
  if (old.spec.ipFamilyPolicy === 'SingleStack' || next.spec.ipFamilyPolicy !== 'SingleStack') return;
  const { spec } = next;
  if ((spec.clusterIPs?.length ?? 0) > 1 && same(spec.clusterIPs, old.spec.clusterIPs)) {
    spec.clusterIPs = spec.clusterIPs?.slice(0, 1) ?? [];
  }
  if ((spec.ipFamilies?.length ?? 0) > 1 && same(spec.ipFamilies, old.spec.ipFamilies)) {
    spec.ipFamilies = spec.ipFamilies?.slice(0, 1) ?? [];
  }
}

export function prepareServiceCreate(service: Service): void {
  service.status = { loadBalancer: {} };
  normalizeClusterIps(service, undefined);
}

export function prepareServiceUpdate(next: Service, old: Service): void {
  if (old.status === undefined) delete next.status;
  else next.status = old.status;
  keepAllocated(next, old);
  normalizeClusterIps(next, old);
  dropForType(next, old);
  trimToSingleStack(next, old);
}
