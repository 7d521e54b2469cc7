/** A port of a pod that is to be reached at the node's addresses. */
export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly hostIP?: string;
}

/** What the network needs to know of a pod sandbox. */
export interface SandboxNetworkRequest {
  /** 64 hexadecimal digits: the CNI container id. */
  readonly id: string;
  /** Bind-mounted network namespace of the pod. */
  readonly netnsPath: string;
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly annotations: Readonly<Record<string, string>>;
  readonly portMappings: readonly PortMapping[];
  /** `CNI_ARGS` as containerd sends them: K8S_POD_NAMESPACE, K8S_POD_NAME, K8S_POD_INFRA_CONTAINER_ID, K8S_POD_UID. */
  readonly cniArgs: readonly (readonly [key: string, value: string])[];
}

/**
 * Gives pod sandboxes their network; the lab puts its CNI runtime here. `setup` must also bring `lo` up. `teardown` may
 * be called more than once for one sandbox, and for one whose namespace or whose `setup` never came to be.
 */
export interface PodNetwork {
  /** Addresses of the pod, the primary one first. */
  setup(sandbox: SandboxNetworkRequest): Promise<{ readonly ips: readonly string[] }>;
  teardown(sandbox: SandboxNetworkRequest): Promise<void>;
  /** Why the network is not ready to set pods up, or undefined. */
  check?(): Promise<string | undefined>;
}
