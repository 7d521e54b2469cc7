export type { KubeconfigOptions } from './auth/kubeconfig.ts';
export type { KeyedCert } from './auth/pki.ts';
export type { ApiServer, ApiServerOptions } from './options.ts';
export { startApiServer } from './server.ts';
export type { Durability } from './store/log.ts';
export type { StreamingHandler, StreamRoute } from './streaming-contract.ts';
export { createStreamingHandler } from './streaming-handler.ts';
