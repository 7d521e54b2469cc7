import { argumentError } from '../../corefile/error.ts';
import type { Plugin } from '../../server/plugin.ts';

/** Lets the debug messages of the whole server through. */
export const debug: Plugin = {
  name: 'debug',
  once: false,
  setup(directives, context) {
    const extra = directives.find(({ args }) => args.length > 0)?.args[0];
    if (extra !== undefined) throw argumentError(extra, extra.text);
    let release: (() => void) | undefined;
    context.onStart(() => {
      const { runtime } = context;
      // Blocks before and after a reload hold it together: it is off when the last one lets go.
      const held = runtime.shared.acquire('debug', () => {
        runtime.setDebug(true);
        return { value: true, close: () => runtime.setDebug(false) };
      });
      release = held.release;
    });
    context.onStop(() => release?.());
    return undefined;
  },
};
