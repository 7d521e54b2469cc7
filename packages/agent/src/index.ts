export { Agent, type AgentOptions } from './agent.ts';
export { type HealthCheck, healthServer } from './http.ts';
export type { EbpfPlaces } from '@weft/proxy';
export { ACTIVE_PROXY_MODE, PROXY_MODE } from './proxy-mode.ts';
