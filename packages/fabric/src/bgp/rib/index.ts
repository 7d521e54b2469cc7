export { ACCEPT_ALL, type Filter, type FilterRule } from './filter.ts';
export { Outgoing } from './outgoing.ts';
export { Rib } from './rib.ts';
export type { RibRoute } from './types.ts';
