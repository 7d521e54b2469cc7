export { dnsServiceIp, kubernetesServiceIp, SELF_IMAGE } from './cluster/addons.ts';
export {
  type BackendName,
  type ClusterConfig,
  type ClusterRequest,
  nodePlaces,
  resolveConfig,
} from './cluster/config.ts';
export { askControl, type SupervisorStatus } from './cluster/control.ts';
export {
  downCluster,
  findCluster,
  type HostContext,
  type KnownCluster,
  listClusters,
  loadCluster,
  upCluster,
  type UpResult,
} from './cluster/host.ts';
export { clusterPaths, type ClusterPaths, machinePidFile, nodeDirs } from './cluster/paths.ts';
export { enterClusterArgs } from './cluster/processes.ts';
export type { PhaseReport, ProgressEvent } from './cluster/progress.ts';
export { Supervisor, UNDERLAY_API_PORT } from './cluster/supervisor.ts';
export { netnsPath, underlayAddresses } from './topology/underlay.ts';
export { prepareImages } from './cluster/self-image.ts';
export { ImageStore, loadImages } from './images/index.ts';
export { type NodeOptions, runNode } from './node/run.ts';
