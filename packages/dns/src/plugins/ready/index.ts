import { parsingError } from '../../corefile/error.ts';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { splitHttpAddress } from '../../server/http.ts';
import type { Plugin } from '../../server/plugin.ts';

const schema = {
  monitor: option.choice(
    ['continuously', 'until-ready'],
    'Ask the plugins again after they were ready once, or never again (default).',
    (value) => `unknown monitor type '${value}'`,
  ),
} satisfies OptionSchema;

/** Answers `OK` on `/ready` once every plugin that has to load something has loaded it. */
export const ready: Plugin = {
  name: 'ready',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const [first, second] = directive.args;
    if (second !== undefined)
      throw parsingError(second, `Wrong argument count or unexpected line ending after '${second.text}'`);
    if (first !== undefined && splitHttpAddress(first.text) === undefined) {
      throw parsingError(first, `address ${first.text}: missing port in address`);
    }
    const address = first?.text ?? ':8181';
    const continuously = parseOptions(schema, directive.block, context.warn).monitor === 'continuously';
    const { configuration, runtime } = context;
    const done = new Set<string>();
    let release: (() => Promise<void>) | undefined;
    context.onStart(async () => {
      release = await runtime.http.serve(address, '/ready', (_, response) => {
        const missing: string[] = [];
        for (const [plugin, isReady] of configuration.readiness) {
          if (done.has(plugin)) continue;
          if (!isReady()) missing.push(plugin);
          else if (!continuously) done.add(plugin);
        }
        const ok = missing.length === 0 && !configuration.leaving;
        const text = ok ? 'OK' : configuration.leaving ? 'Shutting down' : missing.sort().join(',');
        response.writeHead(ok ? 200 : 503, { 'content-type': 'text/plain; charset=utf-8' }).end(text);
      });
    });
    context.onStop(() => release?.());
    return undefined;
  },
};
