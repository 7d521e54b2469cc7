import type { Pod } from '@weft/kube';
import type { PortMapping, SandboxSpec } from '../runtime/index.ts';
import { podHostname } from './dns.ts';
import { namespaceOf, uidOf } from './pod.ts';

function portMappings(pod: Pod): PortMapping[] {
  const out: PortMapping[] = [];
  for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
    for (const port of container.ports ?? []) {
      if (port.hostPort === undefined || port.hostPort === 0) continue;
      out.push({
        hostPort: port.hostPort,
        containerPort: port.containerPort,
        protocol: (port.protocol ?? 'TCP').toLowerCase() as PortMapping['protocol'],
        ...(port.hostIP ? { hostIP: port.hostIP } : {}),
      });
    }
  }
  return out;
}

/** The sandbox of a pod. `attempt`: how many it had before. */
export function sandboxSpec(pod: Pod, attempt: number, nodeName: string, domain: string): SandboxSpec {
  const { spec, metadata } = pod;
  const hostNetwork = spec.hostNetwork === true;
  return {
    namespace: namespaceOf(pod),
    name: metadata.name,
    uid: uidOf(pod),
    attempt,
    hostname: hostNetwork ? nodeName : podHostname(pod, domain).host,
    hostNetwork,
    hostPID: spec.hostPID === true,
    hostIPC: spec.hostIPC === true,
    shareProcessNamespace: spec.shareProcessNamespace === true,
    sysctls: Object.fromEntries((spec.securityContext?.sysctls ?? []).map((s) => [s.name, s.value])),
    annotations: metadata.annotations ?? {},
    portMappings: hostNetwork ? [] : portMappings(pod),
  };
}
