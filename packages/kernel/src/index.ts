export { Assembler, type AluOp, HELPER, type JumpOp, R, type Reg, reg, type Width } from './bpf/asm.ts';
export { BpfMap, type MapSpec, possibleCpus } from './bpf/map.ts';
export { BpfLink, BpfProgram, countRuns, type ProgramSpec, type ProgramStats, type SocketCall } from './bpf/program.ts';
export {
  Conntrack,
  type FlowEvent,
  type FlowEventType,
  type FlowFilter,
} from './conntrack/conntrack.ts';
export type { Flow, FlowCounters, FlowEnds, FlowTuple } from './conntrack/flow.ts';
export { errnoName } from './errno.ts';
export { isKernelError, KernelError, type KernelErrorInit } from './errors.ts';
export { type IpSetChange, type IpSetElement, IpSets, type IpSetSpec, type IpSetType } from './ipset/ipset.ts';
export { Ipvs, type IpvsChange, type IpvsRefusal } from './ipvs/ipvs.ts';
export * from './ipvs/types.ts';
export { NfAcct } from './nfacct/nfacct.ts';
export { NftBatch } from './nft/batch.ts';
export type { SetTarget } from './nft/elements.ts';
export * as expr from './nft/expr.ts';
export { type CommitOptions, Nft } from './nft/nft.ts';
export type * from './nft/expr-types.ts';
export type * from './nft/types.ts';
export * as values from './nft/values.ts';
export type { MissingOk, RtBatch } from './rtnl/batch.ts';
export type { BridgeVlan } from './rtnl/bridge-vlan.ts';
export type { RouteFilter, RouteQuery } from './rtnl/route.ts';
export { Rtnl } from './rtnl/rtnl.ts';
export type * from './rtnl/types.ts';
export * from './sys/mount.ts';
export { features, type KernelFeatures } from './sys/features.ts';
export { NetNs } from './sys/netns.ts';
export * from './sys/process.ts';
export { listenForFd, openPty, setWinsize } from './sys/pty.ts';
export { readSysctl, writeSysctl } from './sys/sysctl.ts';
export { announceAddress, gratuitousArp, unsolicitedAdvertisement } from './sys/announce.ts';
export { connectTcp, dialTcp, listenTcp, setTcpMd5, setTcpTtlSecurity } from './sys/tcp.ts';
export { TunSocket } from './sys/tun-socket.ts';
export { bindUdp } from './sys/udp.ts';
export { type UdpEndpoint, udpEndpoint, UdpSocket } from './sys/udp-socket.ts';
export { Tc } from './tc/tc.ts';
export { ticksOfBytes } from './tc/psched.ts';
export type * from './tc/types.ts';
export { addTuntap, type TuntapSpec } from './sys/tuntap.ts';
export { auxiliaryDevice, interfacesOfDevice, type PciDevice, pciDevice } from './sys/devices.ts';
export { PacketSocket } from './sys/packet.ts';
