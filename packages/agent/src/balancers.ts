import type { Service } from '@weft/kube';
import type { AnnouncedService } from '@weft/fabric';

/** Annotation in which the controller names the node that answers for a Service's balancer addresses. */
const ANNOUNCED_BY = 'weft.dev/announced-by';
/** Annotation in which the agent says which networks its node is on; the controller chooses by it. */
export const L2_NETWORKS = 'weft.dev/l2-networks';

/** What an agent keeps of Services to announce; nothing of those that nobody announces. */
export function slimBalancer({ metadata, spec, status }: Service): AnnouncedService | undefined {
  const node = metadata.annotations?.[ANNOUNCED_BY];
  if (spec.type !== 'LoadBalancer' || node === undefined) return undefined;
  return {
    key: `${metadata.namespace ?? ''}/${metadata.name}`,
    node,
    // Where the balancer itself takes connections (ipMode Proxy, KEP-1860) there is nothing to answer for.
    ips: (status?.loadBalancer?.ingress ?? []).flatMap((i) => ((i.ipMode ?? 'VIP') === 'VIP' ? (i.ip ?? []) : [])),
  };
}
