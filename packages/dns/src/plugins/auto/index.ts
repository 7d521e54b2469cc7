import { readdirSync } from 'node:fs';
import path from 'node:path';
import { errorMessage } from '@weft/plan';
import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, option, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import type { Plugin } from '../../server/plugin.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { keyFromText, labelOffsets, type NameKey } from '../../wire/index.ts';
import { ZoneFile } from '../../zone/file.ts';
import { ServedZones, zoneHandler } from '../../zone/served.ts';

const schema = {
  directory: option.words(
    'DIR [REGEXP ORIGIN_TEMPLATE]',
    'Directory of the zones, those below it included; the pattern of their file names, and the origin made from its groups. Default `db\\.(.*)` and `{1}`.',
    1,
    3,
  ),
  reload: option.duration('DURATION', 'Time between looks at the directory; 0 never. Default 1m.'),
} satisfies OptionSchema;

/** Answers from every zone file of a directory. */
export const auto: Plugin = {
  name: 'auto',
  once: false,
  options: schema,
  setup(directives, context) {
    const { log } = context.runtime;
    const zones = new ServedZones();
    const timers: NodeJS.Timeout[] = [];
    for (const directive of directives) {
      const options = parseOptions(schema, directive.block, context.warn);
      const line = directive.block?.find(({ name }) => name.text === 'directory');
      if (line === undefined || options.directory === undefined) throw argumentError(directive.name, 'auto');
      if (line.args.length === 2) args(line, 3);
      const [folder = '', pattern = 'db\\.(.*)', template = '{1}'] = options.directory;
      const directory = context.path(folder);
      let expression: RegExp;
      try {
        expression = new RegExp(pattern);
      } catch (error) {
        throw parsingError(line.name, `error parsing regexp: ${(error as Error).message}`);
      }
      if (!/\{\d\}/.test(template)) {
        throw parsingError(line.name, `expecting {X}, got ${template}`, 'name a group of the pattern, for example {1}');
      }
      const named = directive.args.flatMap((token) => zonesFromArgument(token));
      const allowed = new ZoneSet(named.length > 0 ? named : context.block.zones);
      const files = new Map<NameKey, ZoneFile>();
      const originOf = (name: string): NameKey | undefined => {
        const match = expression.exec(name);
        if (match === null) return undefined;
        const text = template.replaceAll(/\{(\d)\}/g, (_, group: string) => match[Number(group)] ?? '');
        try {
          const key = keyFromText(text);
          return text !== '' && allowed.has(key, labelOffsets(key)) ? key : undefined;
        } catch {
          return undefined;
        }
      };
      const look = (): void => {
        const found = new Map<NameKey, string>();
        try {
          for (const entry of readdirSync(directory, { withFileTypes: true, recursive: true })) {
            // A ConfigMap's files are links into a directory that is exchanged.
            if (entry.isDirectory()) continue;
            const origin = originOf(entry.name);
            if (origin !== undefined && !found.has(origin)) found.set(origin, path.join(entry.parentPath, entry.name));
          }
        } catch (error) {
          log.warn(`plugin/auto: ${errorMessage(error)}`);
          return;
        }
        for (const [origin, file] of found) {
          if (files.get(origin)?.path !== file) files.set(origin, new ZoneFile('auto', file, origin, zones, log));
          files.get(origin)?.look();
        }
        for (const origin of files.keys()) {
          if (found.has(origin)) continue;
          files.delete(origin);
          zones.remove(origin);
        }
      };
      context.onStart(() => {
        look();
        const seconds = options.reload ?? 60;
        if (seconds > 0) timers.push(setInterval(look, seconds * 1000).unref());
      });
    }
    context.onStop(() => timers.forEach(clearInterval));
    return zoneHandler('auto', zones, context.lookup, undefined);
  },
};
