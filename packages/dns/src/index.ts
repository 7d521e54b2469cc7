export { type CheckOptions, checkCorefile, type Diagnostic } from './check.ts';
export { type DefaultCorefileOptions, defaultCorefile } from './corefile/default.ts';
export { searchCandidates, type SearchOptions } from './client/search.ts';
export { CorefileError } from './corefile/error.ts';
export type { Inspected } from './inspect/inspector.ts';
export type { Recording } from './inspect/recorder.ts';
export type { KubeAccess, KubeFactory, KubeSource } from './server/plugin.ts';
export { type DnsAddress, type DnsOptions, DnsServer, startDns } from './server/server.ts';
