export { addressDefinitions } from './crds.ts';
export { type CalicoSelector, parseCalicoSelector, selectsAll } from './selector.ts';
export * from './types.ts';
