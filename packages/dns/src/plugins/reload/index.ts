import { argumentError, parsingError } from '../../corefile/error.ts';
import { errorMessage } from '@weft/plan';
import { parseDuration } from '../../corefile/options.ts';
import type { Plugin } from '../../server/plugin.ts';

const MIN_INTERVAL = 2;
const MIN_JITTER = 1;

/** Reads the Corefile again when it has changed. */
export const reload: Plugin = {
  name: 'reload',
  once: false,
  setup(directives, context) {
    let interval = 30;
    let jitter = 15;
    for (const directive of directives) {
      const extra = directive.args[2] ?? directive.block?.[0]?.name;
      if (extra !== undefined) throw argumentError(extra, extra.text);
      const [first, second] = directive.args;
      if (first !== undefined) {
        const value = parseDuration(first.text);
        if (value === undefined) throw parsingError(first, `time: invalid duration "${first.text}"`);
        if (value < MIN_INTERVAL)
          throw parsingError(first, `interval value must be greater or equal to ${MIN_INTERVAL}s`);
        interval = value;
      }
      if (second !== undefined) {
        const value = parseDuration(second.text);
        if (value === undefined) throw parsingError(second, `time: invalid duration "${second.text}"`);
        if (value < MIN_JITTER) throw parsingError(second, `jitter value must be greater or equal to ${MIN_JITTER}s`);
        jitter = value;
      }
    }
    jitter = Math.min(jitter, interval / 2);
    const { runtime } = context;
    let timer: NodeJS.Timeout | undefined;
    let stopped = false;
    let refused = '';
    const schedule = (): void => {
      // Replicas that were started together must not all reload in the same second.
      timer = setTimeout(() => void check(), (interval + (Math.random() * 2 - 1) * jitter) * 1000);
      timer.unref();
    };
    const check = async (): Promise<void> => {
      try {
        const hash = runtime.currentHash();
        if (hash !== runtime.configHash() && hash !== refused) {
          refused = hash;
          await runtime.reload();
        }
      } catch (error) {
        // What the file says may be right: it is tried again.
        if ((error as { code?: string }).code === 'DNS_NOT_READY') refused = '';
        runtime.log.error(`plugin/reload: ${errorMessage(error)}`);
      }
      if (!stopped) schedule();
    };
    context.onStart(() => {
      if (runtime.corefile === undefined) return;
      const info = runtime.metrics.gauge(
        'coredns_reload_version_info',
        "A metric with a constant '1' value labeled by hash, and value which type of hash generated.",
        ['hash', 'value'],
      );
      info.cell('sha512', runtime.configHash()).value = 1;
      schedule();
    });
    context.onStop(() => {
      stopped = true;
      clearTimeout(timer);
    });
    return undefined;
  },
};
