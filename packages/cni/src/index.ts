export { type ConflistOptions, defaultConflist } from './conflist.ts';
export { type AddressRequest, type Allocation, Ipam, type PodReference } from './ipam/ipam.ts';
export type { PoolUsage } from './ipam/pool.ts';
export { type AddressRange, type RangeSet, rangeOfSubnet, rangeSetSize } from './ipam/range.ts';
export {
  DEFAULT_NETWORK_ANNOTATION,
  NETWORK_STATUS_ANNOTATION,
  NETWORKS_ANNOTATION,
  type NetworkSelection,
  parseNetworkSelections,
} from './networks/annotations.ts';
export { networksConflist } from './networks/conflist.ts';
export { type NetworkDefinition, networkOfDefinition } from './networks/definition.ts';
export type { NetworkSource } from './networks/source.ts';
export type { NetworkStatus } from './networks/status.ts';
export { readPodWish, STICKY_ANNOTATION } from './pools/annotations.ts';
export type { AddressAnswer, AddressAuthority, AddressQuestion } from './pools/authority.ts';
export { blockName, blockOf, freeBlock, poolOf, rangesOfBlock } from './pools/blocks.ts';
export {
  type AddressSource,
  type AddressView,
  chooseAddresses,
  type FamilyChoice,
  type Place,
  placeOf,
  setOfAddress,
} from './pools/choose.ts';
export { type IpPool, type PoolProblem, readPools } from './pools/pool.ts';
export { type Installed, type InstallOptions, installPlugins } from './install/install.ts';
export type { PluginConfig as NetworkPlugin, NetworkList } from './runtime/config.ts';
export { parseNetworkList } from './runtime/config.ts';
export { CniRuntime, type CniRuntimeOptions, type RuntimeAttachment, type TraceContext } from './runtime/runtime.ts';
export { parseCniArgs } from './spec/environment.ts';
export { CniServer, type CniServerOptions, type PodAttachment } from './server/server.ts';
export { CniCode, CniError } from './spec/errors.ts';
export { formatResult, parseResult, resultToVersion } from './spec/result.ts';
export type {
  Attachment,
  CniCommand,
  CniDns,
  CniInterface,
  CniIp,
  CniResult,
  CniRoute,
  Plugin,
  PluginRequest,
} from './spec/types.ts';
export { SUPPORTED_VERSIONS } from './spec/versions.ts';
export { DhcpDaemon, type DhcpDaemonOptions } from './dhcp/daemon.ts';
export { runDhcpDaemon } from './dhcp/run.ts';
export { PLUGIN_NAMES } from './plugins/registry.ts';
