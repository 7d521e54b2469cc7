export * from './bgp-types.ts';
export { addressDefinitions, bgpDefinitions } from './crds.ts';
export { type CalicoSelector, parseCalicoSelector, selectsAll } from './selector.ts';
export * from './types.ts';
