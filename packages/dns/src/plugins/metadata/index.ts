import { argumentError } from '../../corefile/error.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import type { Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';

/** Gathers what the plugins of the block know about a query, for plugins that ask by label. */
export const metadata: Plugin = {
  name: 'metadata',
  once: false,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const extra = directives[1]?.name ?? directive.block?.[0]?.name;
    if (extra !== undefined) throw argumentError(extra, extra.text);
    const named = directive.args.flatMap((token) => zonesFromArgument(token));
    const zones = new ZoneSet(named.length > 0 ? named : context.block.zones);
    let providers: readonly Handler[] = [];
    const handler: Handler = {
      name: 'metadata',
      transparent: true,
      serve: (request, next) => next(request),
      collect: (request) => {
        const values = new Map<string, () => string>();
        request.metadata = values;
        const { key, labels } = request.query;
        if (!zones.has(key, labels)) return;
        for (const provider of providers) provider.describe?.(request, (label, value) => void values.set(label, value));
      },
      linked: (later) => {
        providers = later.filter((one) => 'describe' in one);
      },
    };
    return handler;
  },
};
