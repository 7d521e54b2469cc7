import type { Query } from '../wire/index.ts';
import type { Handler, Reply } from './handler.ts';

export type Quick = (query: Query) => Reply | undefined;

/**
 * Proves from the order of a block's plugins which answers need no walk through the chain, and gives a function for
 * them. A plugin that answers from a table may be asked first when everything before it lets its answers pass as they
 * are, or says how it changes them. One that does neither ends the proof: then the chain answers everything.
 */
export function planQuick(handlers: readonly Handler[]): Quick | undefined {
  const adjusting: Handler[] = [];
  for (const handler of handlers) {
    if (handler.quick !== undefined) {
      // The last to see an answer is the first of the chain.
      const adjust = adjusting.reverse();
      return (query) => {
        let reply = handler.quick?.(query);
        for (let i = 0; reply !== undefined && i < adjust.length; i++) {
          reply = (adjust[i] as Handler).adjust?.(query, reply) ?? reply;
        }
        return reply;
      };
    }
    if (handler.adjust !== undefined) adjusting.push(handler);
    else if (handler.transparent !== true) return undefined;
  }
  return undefined;
}
