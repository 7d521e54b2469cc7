export { beginAll, type Controller, type ControllerContext } from './context.ts';
export { type AddressType, compileSlices, type DesiredSlices, type EndpointGroup } from './endpointslice/compile.ts';
export {
  MAX_ENDPOINTS,
  packSlices,
  type PackOptions,
  type SliceChanges,
  type SliceContent,
} from './endpointslice/pack.ts';
export { eventRecorder } from './events.ts';
export { type NodeIpamOptions } from './node-ipam/controller.ts';
export { CidrPool } from './node-ipam/pool.ts';
export { NOT_ENFORCED_ANNOTATION, type NotEnforced, notEnforcedByDefault } from './not-enforced/controller.ts';
export { compareVersions, LOOK_AGAIN_MS, OwnWrites } from './own-writes.ts';
export {
  isPodActive,
  isPodAvailable,
  isPodReady,
  isPodTerminal,
  podAddresses,
  podCondition,
  slimPod,
} from './pods.ts';
export { type Again, isLostRace, WorkQueue, type WorkQueueOptions } from './queue.ts';
export { InformerSet, type InformerSetOptions, podInformer, sharedInformers } from './shared.ts';
export { type RunningControllers, startControllers, type StartControllersOptions } from './start.ts';
export { ANNOUNCED_BY } from './load-balancer/controller.ts';
export { IP_ADDRESS_POOL_CRD } from './load-balancer/crd.ts';
