export { DEFAULT_PORT, DEFAULT_VNI, type FabricConfig, type Underlay } from './backend.ts';
export { backendCapabilities, backendNames } from './backends/index.ts';
export type { FabricEntry, FabricPlan } from './entries.ts';
export { Fabric, type FabricOptions } from './fabric.ts';
export { ROUTE_PROTOCOL } from './kernel/read.ts';
export { type AnnouncedService, L2Announcer } from './announce/l2.ts';
export {
  type BlockSource,
  type FabricCondition,
  fabricNode,
  type FabricNode,
  type FabricPool,
  type NodeBlock,
  type NodeSource,
  VTEP_MAC_ANNOTATION,
} from './nodes.ts';
export type { BgpService } from './bgp/compile/index.ts';
export type { BgpSource } from './bgp/source.ts';
export type { BgpPeerStatus, BgpStatus } from './bgp/status.ts';
export type { FabricPeerStatus, FabricStatus } from './status.ts';
