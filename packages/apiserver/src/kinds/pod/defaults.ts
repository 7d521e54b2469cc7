import type { Container, Lifecycle, LifecycleHandler, Pod, PodSpec, Probe, Volume } from '@weft/kube';

const PROBES = ['livenessProbe', 'readinessProbe', 'startupProbe'] as const;
/** Mode of files in ConfigMap, Secret, downward API and projected volumes: 0644. */
const FILE_MODE = 0o644;
/** Lifetime of a projected token in seconds. */
const TOKEN_SECONDS = 3600;

const allContainers = (spec: PodSpec): Container[] => [...(spec.initContainers ?? []), ...(spec.containers ?? [])];

/** `Always` for images that move (tag `latest`, or none), `IfNotPresent` for the rest. */
function defaultPullPolicy(image: string): 'Always' | 'IfNotPresent' {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1] ?? 'latest';
  return tag === 'latest' ? 'Always' : 'IfNotPresent';
}

function defaultHandler(handler: Probe | LifecycleHandler | undefined): void {
  if (handler?.httpGet) {
    handler.httpGet.path ||= '/';
    handler.httpGet.scheme ||= 'HTTP';
  }
}

function defaultProbe(probe: Probe | undefined): void {
  if (!probe) return;
  defaultHandler(probe);
  if (probe.grpc) probe.grpc.service ??= '';
  probe.timeoutSeconds ||= 1;
  probe.periodSeconds ||= 10;
  probe.successThreshold ||= 1;
  probe.failureThreshold ||= 3;
}

function defaultLifecycle(lifecycle: Lifecycle | undefined): void {
  defaultHandler(lifecycle?.postStart);
  defaultHandler(lifecycle?.preStop);
}

/** Requests that are not given are as large as the limits. */
function defaultRequests({ resources }: Container): void {
  if (!resources?.limits) return;
  const requests = (resources.requests ??= {});
  for (const [name, limit] of Object.entries(resources.limits)) {
    if (!Object.hasOwn(requests, name)) requests[name] = limit;
  }
}

function defaultContainer(container: Container): void {
  container.imagePullPolicy ||= defaultPullPolicy(container.image ?? '');
  container.terminationMessagePath ||= '/dev/termination-log';
  container.terminationMessagePolicy ||= 'File';
  container.resources ??= {};
  for (const port of container.ports ?? []) port.protocol ||= 'TCP';
  for (const env of container.env ?? []) {
    if (env.valueFrom?.fieldRef) env.valueFrom.fieldRef.apiVersion ||= 'v1';
    if (env.valueFrom?.resourceFieldRef) env.valueFrom.resourceFieldRef.divisor ??= '0';
  }
  for (const probe of PROBES) defaultProbe(container[probe]);
  defaultLifecycle(container.lifecycle);
}

function defaultVolume(volume: Volume): void {
  if (Object.keys(volume).every((key) => key === 'name')) volume.emptyDir = {};
  if (volume.configMap) volume.configMap.defaultMode ??= FILE_MODE;
  if (volume.secret) volume.secret.defaultMode ??= FILE_MODE;
  if (volume.downwardAPI) volume.downwardAPI.defaultMode ??= FILE_MODE;
  if (volume.projected) volume.projected.defaultMode ??= FILE_MODE;
  if (volume.hostPath) volume.hostPath.type ??= '';
  const sources = volume.projected?.sources ?? [];
  for (const { serviceAccountToken } of sources) {
    if (serviceAccountToken) serviceAccountToken.expirationSeconds ??= TOKEN_SECONDS;
  }
  for (const downward of [volume.downwardAPI, ...sources.map((s) => s.downwardAPI)]) {
    for (const item of downward?.items ?? []) if (item.fieldRef) item.fieldRef.apiVersion ||= 'v1';
  }
  const claim = volume.ephemeral?.volumeClaimTemplate?.spec;
  if (claim) claim.volumeMode ||= 'Filesystem';
}

/** A pod with hostNetwork listens on the node itself: its ports are the node's. */
function defaultHostPorts(spec: PodSpec): void {
  for (const container of allContainers(spec)) {
    for (const port of container.ports ?? [])
      if (!port.hostPort && port.containerPort) port.hostPort = port.containerPort;
  }
}

/** Defaults of a pod's spec, alone or in a template (k8s.io/kubernetes/pkg/apis/core/v1/defaults.go). */
export function defaultPodSpec(spec: PodSpec): void {
  spec.restartPolicy ||= 'Always';
  spec.dnsPolicy ||= 'ClusterFirst';
  spec.terminationGracePeriodSeconds ??= 30;
  spec.securityContext ??= {};
  spec.schedulerName ||= 'default-scheduler';
  const account = spec.serviceAccountName || spec.serviceAccount;
  if (account) {
    spec.serviceAccountName = account;
    spec.serviceAccount = account;
  }
  for (const volume of spec.volumes ?? []) defaultVolume(volume);
  for (const container of allContainers(spec)) defaultContainer(container);
  for (const container of spec.ephemeralContainers ?? []) defaultContainer(container as Container);
}

/** Defaults of a pod itself; those beyond the spec's are not given to templates. */
export function defaultPod(pod: Pod): void {
  const spec = (pod.spec ??= { containers: [] });
  defaultPodSpec(spec);
  spec.enableServiceLinks ??= true;
  if (spec.hostNetwork === true) defaultHostPorts(spec);
  allContainers(spec).forEach(defaultRequests);
}
