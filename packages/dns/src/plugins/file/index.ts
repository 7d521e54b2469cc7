import { argumentError } from '../../corefile/error.ts';
import { option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { keyFromText } from '../../wire/index.ts';
import { ZoneFile } from '../../zone/file.ts';
import { ServedZones, zoneHandler } from '../../zone/served.ts';

const schema = {
  reload: option.duration('DURATION', 'Time between looks at the file; 0 never. Default 1m.'),
  fallthrough: option.zones(
    '[ZONE…]',
    'Names that do not exist go to the next plugin; in these zones only, or in all.',
  ),
} satisfies OptionSchema;

/** Answers from zones in master files. */
export const file: Plugin = {
  name: 'file',
  once: false,
  options: schema,
  setup(directives, context) {
    const { log } = context.runtime;
    const zones = new ServedZones();
    const through: string[] = [];
    const timers: NodeJS.Timeout[] = [];
    for (const directive of directives) {
      const [path, ...zoneTokens] = directive.args;
      if (path === undefined) throw argumentError(directive.name, 'file');
      const options = parseOptions(schema, directive.block, context.warn);
      const named = zoneTokens.flatMap((token) => zonesFromArgument(token));
      const origins = named.length > 0 ? named : context.block.zones;
      for (const origin of origins) zones.expect(keyFromText(origin));
      if (options.fallthrough !== undefined) {
        through.push(...(options.fallthrough.length > 0 ? options.fallthrough : origins));
      }
      const at = context.path(path.text);
      context.onStart(() => {
        const files = origins.map((origin) => new ZoneFile('file', at, keyFromText(origin), zones, log));
        for (const one of files) one.look();
        const seconds = options.reload ?? 60;
        if (seconds === 0) return;
        timers.push(setInterval(() => files.forEach((one) => one.look()), seconds * 1000).unref());
      });
    }
    context.onStop(() => timers.forEach(clearInterval));
    return zoneHandler('file', zones, context.lookup, through.length === 0 ? undefined : new ZoneSet(through));
  },
};
