export { ensureBalancerPool } from './cluster/balancer.ts';
// What the command needs on the host's side. What runs inside of a cluster has entries of its own (see package.json), so
// that a process loads only its part.
export { dnsServiceIp, kubernetesServiceIp, SELF_IMAGE } from './cluster/addons.ts';
export {
  type ClusterConfig,
  type ClusterRequest,
  nodePlaces,
  resolveConfig,
} from './cluster/config.ts';
export { askControl, type SupervisorStatus } from './cluster/control.ts';
export { downCluster } from './cluster/down.ts';
export { findCluster, type HostContext, type KnownCluster, listClusters, loadCluster } from './cluster/find.ts';
export { clusterPaths, type ClusterPaths, machinePidFile, nodeDirs } from './cluster/paths.ts';
export { enterClusterArgs } from './cluster/processes.ts';
export type { PhaseReport, ProgressEvent } from './cluster/progress.ts';
export { upCluster, type UpResult } from './cluster/up.ts';
export { formatResolvConf, parseResolvConf, type ResolvConf } from './kubelet/dns.ts';
export { netnsPath, UNDERLAY_API_PORT, underlayAddresses } from './topology/addresses.ts';
