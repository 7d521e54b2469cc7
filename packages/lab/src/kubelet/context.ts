import type { EventRecorder, KubeClient, Pod } from '@weft/kube';
import type { Logger } from '@weft/plan';
import type { ImageStore } from '../images/index.ts';
import type { PodNetwork, Runtime } from '../runtime/index.ts';
import type { ClusterDns, ResolvConf } from './dns.ts';
import type { KubeletObjects } from './objects.ts';
import { fieldPathOf, namespaceOf, uidOf } from './pod.ts';
import type { Tokens } from './tokens.ts';

/** What all pods of a node share. */
export interface NodeContext {
  readonly nodeName: string;
  readonly nodeIPs: readonly string[];
  readonly client: KubeClient;
  readonly runtime: Runtime;
  readonly images: ImageStore;
  readonly network: PodNetwork;
  readonly objects: KubeletObjects;
  readonly tokens: Tokens;
  readonly events: EventRecorder;
  readonly dns: ClusterDns;
  /** Address and port of the Service `kubernetes`. */
  readonly kubernetesService: { readonly host: string; readonly port: number } | undefined;
  readonly allocatable: Readonly<Record<string, string>>;
  /** Directory of the node that outlives its process. */
  readonly dataDir: string;
  readonly resolvConf: () => ResolvConf;
  readonly hosts: () => string;
  readonly log: Logger;
}

/** Records an event about a pod or one of its containers. */
export function podEvent(
  context: NodeContext,
  pod: Pod,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  container?: string,
): void {
  context.events.event(
    {
      kind: 'Pod',
      apiVersion: 'v1',
      name: pod.metadata.name,
      namespace: namespaceOf(pod),
      uid: uidOf(pod),
      ...(pod.metadata.resourceVersion === undefined ? {} : { resourceVersion: pod.metadata.resourceVersion }),
      ...(container === undefined ? {} : { fieldPath: fieldPathOf(pod, container) }),
    },
    type,
    reason,
    message,
  );
}
