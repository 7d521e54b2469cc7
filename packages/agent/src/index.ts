export { Agent, type AgentOptions } from './agent.ts';
export { type HealthCheck, healthServer } from './http.ts';
