import { podRules } from './pod/index.ts';
import type { KindRules } from './strategy.ts';

/** Rules by `group/plural`; kinds that are not here are stored as they come. */
export const kindRules: Readonly<Record<string, KindRules>> = {
  '/pods': podRules,
};
