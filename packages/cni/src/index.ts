export { type ConflistOptions, defaultConflist } from './conflist.ts';
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
