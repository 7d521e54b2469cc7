export { ACCEPT_ALL, type Filter } from './filter.ts';
export { Outgoing } from './outgoing.ts';
export { Rib } from './rib.ts';
export type { RibRoute } from './types.ts';
