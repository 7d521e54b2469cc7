export type { Container, ContainerSpec } from './container.ts';
export type { ExecResult, ExecSession } from './exec.ts';
export { logBytes, type LogOptions, readLog } from './logs.ts';
export type { PodNetwork, PortMapping, SandboxNetworkRequest } from './network.ts';
export { Runtime } from './runtime.ts';
export type { Sandbox, SandboxSpec } from './sandbox.ts';
export type { ContainerMount } from './spec.ts';
