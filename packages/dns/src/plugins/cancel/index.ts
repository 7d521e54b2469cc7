import { argumentError, parsingError } from '../../corefile/error.ts';
import { parseDuration } from '../../corefile/options.ts';
import { failure, type Handler, type Outcome } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { RCODE } from '../../wire/index.ts';

const DEFAULT_SECONDS = 5.001;

/** Gives up a query that takes too long: its client has asked again long since. */
export const cancel: Plugin = {
  name: 'cancel',
  once: true,
  setup(directives) {
    const [directive] = directives;
    const [timeout, extra] = directive?.args ?? [];
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const seconds = timeout === undefined ? DEFAULT_SECONDS : parseDuration(timeout.text);
    if (timeout !== undefined && seconds === undefined)
      throw parsingError(timeout, `invalid duration: "${timeout.text}"`);
    if (timeout !== undefined && (seconds as number) <= 0)
      throw parsingError(timeout, `invalid timeout: ${timeout.text}`);
    const ms = (seconds as number) * 1000;
    const handler: Handler = {
      name: 'cancel',
      // What is answered from memory takes no time.
      transparent: true,
      serve(request, next) {
        const outcome = next(request);
        if (!(outcome instanceof Promise)) return outcome;
        let timer: NodeJS.Timeout | undefined;
        const late = new Promise<Outcome>((resolve) => {
          timer = setTimeout(
            () => resolve(failure('cancel', RCODE.SERVFAIL, new Error('context deadline exceeded'))),
            ms,
          );
        });
        return Promise.race([outcome, late]).finally(() => clearTimeout(timer));
      },
    };
    return handler;
  },
};
