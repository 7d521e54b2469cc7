// Written by scripts/generate-types.mjs.
export type * from './apiextensions.ts';
export type * from './apps.ts';
export type * from './authentication.ts';
export type * from './batch.ts';
export type * from './coordination.ts';
export type * from './core.ts';
export type * from './discovery.ts';
export type * from './events.ts';
export type * from './meta.ts';
export type * from './networking.ts';
export type * from './pod.ts';
export type * from './subresources.ts';
export type * from './volume.ts';
