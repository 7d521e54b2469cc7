export { INITIAL, sessionState, step } from './fsm.ts';
export type * from './types.ts';
