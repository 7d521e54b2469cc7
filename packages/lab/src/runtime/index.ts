export type { Container, ContainerSpec } from './container.ts';
export type { ExecOptions, ExecResult, ExecSession } from './exec.ts';
export { logBytes, type LogOptions, type LogRecord, parseLogLine, readLog } from './logs.ts';
export type { PodNetwork, PortMapping, SandboxNetworkRequest } from './network.ts';
export { Runtime, type RuntimeOptions, unmountBelow } from './runtime.ts';
export type { Sandbox, SandboxSpec } from './sandbox.ts';
export type { ContainerMount, ContainerUser } from './spec.ts';
export { findTools, type Tools } from './tools.ts';
