import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, type OptionSchema, parseOptions } from '../../corefile/options.ts';
import type { Plugin } from '../../server/plugin.ts';

const schema = {
  max_connections: {
    syntax: 'NUMBER',
    doc: 'Connections at a time at an https:// address; 0 for any number. Default 200.',
    parse: (line): number => {
      const text = args(line, 1)[0] as string;
      if (!/^[+-]?[0-9]+$/.test(text))
        throw parsingError(line.name, `invalid max_connections value '${text}': not a number`);
      const value = Number(text);
      if (value < 0) throw parsingError(line.name, `max_connections must be a non-negative integer: ${value}`);
      return value;
    },
    join: (): number => {
      throw new Error('max_connections already defined for this server block');
    },
  },
} satisfies OptionSchema;

/** Limits of `https://` addresses. */
export const https: Plugin = {
  name: 'https',
  once: true,
  options: schema,
  setup(directives, { listen, warn }) {
    const directive = directives[0] as (typeof directives)[number];
    if (directive.args.length > 0) throw argumentError(directive.name, 'https');
    const { max_connections: limit } = parseOptions(schema, directive.block, warn);
    if (limit !== undefined) listen.maxHttpsConnections = limit;
    return undefined;
  },
};
