import { argumentError, parsingError } from '../../corefile/error.ts';
import { args, type Option, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import type { Plugin } from '../../server/plugin.ts';

const DAY = 24 * 3600;

/** A duration between a second and a day, in seconds; a bare number is seconds. */
function timeout(doc: string): Option<number> {
  return {
    syntax: 'DURATION',
    doc,
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      const seconds = parseDuration(/^[0-9]+$/.test(text) ? `${text}s` : text);
      if (seconds === undefined) throw parsingError(line.name, `failed to parse duration: "${text}"`);
      if (seconds < 1 || seconds > DAY)
        throw parsingError(line.name, `timeout provided '${text}' needs to be between 1 second and 24 hours`);
      return seconds;
    },
  };
}

const schema = {
  read: timeout('For the first query of a connection. Default 3s.'),
  write: timeout('For a client to take an answer. Default 5s.'),
  idle: timeout('Between queries of a connection. Default 10s.'),
  maxtcpqueries: {
    syntax: 'NUMBER',
    doc: 'Close a TCP or TLS connection after so many queries; -1 (default) never.',
    parse: (line): number => {
      const text = args(line, 1)[0] as string;
      if (!/^[+-]?[0-9]+$/.test(text))
        throw parsingError(line.name, `invalid value for maxtcpqueries '${text}': not a number`);
      const value = Number(text);
      if (value === 0 || value < -1) {
        throw parsingError(
          line.name,
          `maxtcpqueries provided '${value}' needs to be -1 (unlimited) or a positive integer`,
        );
      }
      return value;
    },
  },
} satisfies OptionSchema;

/** How long connections of TCP, TLS and HTTPS may wait. */
export const timeouts: Plugin = {
  name: 'timeouts',
  once: false,
  options: schema,
  setup(directives, { listen, warn }) {
    for (const directive of directives) {
      if (directive.args.length > 0) throw argumentError(directive.name, 'timeouts');
      if ((directive.block ?? []).length === 0)
        throw parsingError(directive.name, 'timeouts block with no timeouts specified');
      const options = parseOptions(schema, directive.block, warn);
      if (options.read !== undefined) listen.readMs = options.read * 1000;
      if (options.write !== undefined) listen.writeMs = options.write * 1000;
      if (options.idle !== undefined) listen.idleMs = options.idle * 1000;
      if (options.maxtcpqueries !== undefined) listen.maxTcpQueries = options.maxtcpqueries;
    }
    return undefined;
  },
};
