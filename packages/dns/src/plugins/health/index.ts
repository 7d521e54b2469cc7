import { parsingError } from '../../corefile/error.ts';
import { formatDuration, option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { splitHttpAddress } from '../../server/http.ts';
import type { Plugin } from '../../server/plugin.ts';

const schema = {
  lameduck: option.duration('DURATION', 'Keep answering for so long after the order to stop, while /ready says no.'),
} satisfies OptionSchema;

/** Answers `OK` on `/health` while the process runs. */
export const health: Plugin = {
  name: 'health',
  once: false,
  options: schema,
  setup(directives, context) {
    let address = ':8080';
    let lameduck = 0;
    for (const directive of directives) {
      const [first, second] = directive.args;
      if (second !== undefined)
        throw parsingError(second, `Wrong argument count or unexpected line ending after '${second.text}'`);
      if (first !== undefined) {
        if (splitHttpAddress(first.text) === undefined)
          throw parsingError(first, `address ${first.text}: missing port in address`);
        address = first.text;
      }
      lameduck = parseOptions(schema, directive.block, context.warn).lameduck ?? lameduck;
    }
    let release: (() => Promise<void>) | undefined;
    context.onStart(async () => {
      release = await context.runtime.http.serve(address, '/health', (_, response) => {
        response.writeHead(200, { 'content-type': 'text/plain; charset=utf-8' }).end('OK');
      });
    });
    context.onShutdown(async () => {
      if (lameduck <= 0) return;
      context.runtime.log.info(`plugin/health: Going into lameduck mode for ${formatDuration(lameduck)}`);
      await new Promise((resolve) => setTimeout(resolve, lameduck * 1000));
    });
    context.onStop(() => release?.());
    return undefined;
  },
};
