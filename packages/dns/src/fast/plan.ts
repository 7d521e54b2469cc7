import type { Handler, Reply } from '../server/handler.ts';
import type { Query } from '../wire/index.ts';
import type { TallyObserver } from './tallies.ts';

/** A plugin whose answers may be given without the chain, and what the plugins before it make of them. */
interface Step {
  readonly handler: Handler;
  readonly adjust: (query: Query, reply: Reply) => Reply;
}

/** What may be answered from a table for one server block. */
export interface FastPlan {
  /** Plugins that answer from their own data, in the order in which they are asked. */
  readonly sources: readonly Step[];
  /** The cache of the answers of plugins behind it. */
  readonly cache: Step | undefined;
  /** Addresses come in another order each time. */
  readonly spread: boolean;
  /** Those who count what was answered. */
  readonly observers: readonly TallyObserver[];
}

/**
 * Proves from the order of a block's plugins which answers may be given from a table. Everything before a plugin that says
 * what its answers depend on (`answers`, `cached`) must let them pass as they are, change them in a way that depends on the
 * question alone (`steady`), or only shuffle addresses (`spreads`); and everybody who wants to know of queries must be able to
 * count them in bulk. A plugin that does anything else (log, rewrite, acl, template, view …) ends the proof: what is behind it
 * takes the chain. Undefined when nothing may be answered from a table.
 */
export function planFast(handlers: readonly Handler[], observers: readonly object[]): FastPlan | undefined {
  if (!observers.every(isTallyObserver)) return undefined;
  const sources: Step[] = [];
  const adjusting: Handler[] = [];
  let cache: Step | undefined;
  let spread = false;
  const step = (handler: Handler): Step => {
    // The last to see an answer is the first of the chain.
    const adjust = adjusting.toReversed();
    return {
      handler,
      adjust: (query, reply) => adjust.reduce((now, by) => by.adjust?.(query, now) ?? now, reply),
    };
  };
  for (const [i, handler] of handlers.entries()) {
    if (handler.answers !== undefined) sources.push(step(handler));
    else if (handler.cached !== undefined) {
      // An owner that does not say when its names change could come to own a name that is remembered.
      const told = handlers.slice(i + 1).every((later) => !('owns' in later) || later.answers !== undefined);
      if (told) cache = step(handler);
    } else if (handler.spreads === true) spread = true;
    else if (handler.adjust !== undefined && handler.steady === true) adjusting.push(handler);
    else if (handler.adjust !== undefined || handler.transparent !== true) break;
  }
  if (sources.length === 0 && cache === undefined) return undefined;
  const counting = [...new Set<object>([...observers, ...handlers])].filter(isTallyObserver);
  return { sources, cache, spread, observers: counting };
}

function isTallyObserver(thing: object): thing is TallyObserver {
  return 'tally' in thing;
}
