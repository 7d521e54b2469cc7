export type { Capabilities, DataPlane, StartReport } from './dataplane.ts';
export { compileService } from './model/compile.ts';
export { IptablesDataPlane, type IptablesOptions } from './iptables/dataplane.ts';
export { cgroup2Root } from './ebpf/places.ts';
export type { EbpfPlaces } from './ebpf/kernel.ts';
export { IpvsDataPlane, type IpvsOptions } from './ipvs/dataplane.ts';
export { type NodeFacts, nodeFacts } from './model/node.ts';
export { endpointWidth, formatAddress, formatEndpoint, type Packed, unpackList } from './model/packed.ts';
export { PROXY_SELECTOR, slimService, type SlimService, slimSlice, type SlimSlice } from './model/slim.ts';
export {
  type Frontend,
  type FrontendKind,
  type NodePortAddress,
  type Planned,
  planKey,
  type Protocol,
  type ServicePort,
  servicePortName,
  type TrafficPolicy,
} from './model/types.ts';
export { NftablesDataPlane, type NftablesOptions } from './nftables/dataplane.ts';
export { UserspaceDataPlane, type UserspaceOptions } from './userspace/dataplane.ts';
export { familyConfigs, type Mode, MODES, type NodePortAddresses, type TableOptions } from './options.ts';
export {
  type ProxyEvent,
  type ProxyHealth,
  proxyInformers,
  type ProxySources,
  ServiceProxy,
  type ServiceProxyOptions,
  type Source,
} from './proxy.ts';
export { decide, type Decision, frontendText, type PacketSource } from './explain/decide.ts';
export { ruleChanges, type RuleLine } from './explain/rules.ts';
export {
  type BackendReport,
  explainService,
  planOf,
  type PortReport,
  type ServiceObjects,
  type ServiceReport,
} from './explain/service.ts';
export type { BackendTraffic, PortTraffic } from './explain/traffic.ts';
