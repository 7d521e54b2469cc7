import { parsingError } from '../../corefile/error.ts';
import type { Line } from '../../corefile/directive.ts';
import { args, formatDuration, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import { goPattern } from '../../expression/parse.ts';
import { andThen, type Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { typeName } from '../../wire/index.ts';

/** Equal errors within a time, told once. */
interface Consolidation {
  readonly seconds: number;
  /** The pattern as written. */
  readonly text: string;
  readonly pattern: RegExp;
  readonly level: 'debug' | 'info' | 'warn' | 'error';
  readonly showFirst: boolean;
  count: number;
  timer: NodeJS.Timeout | undefined;
}

const LEVELS: Readonly<Record<string, Consolidation['level']>> = {
  debug: 'debug',
  info: 'info',
  warning: 'warn',
  error: 'error',
};

const MAX_PATTERN = 10_000;

/** The level and `show_first`, in this order. */
function readWords(line: Line, words: readonly string[]): Pick<Consolidation, 'level' | 'showFirst'> {
  let level: Consolidation['level'] | undefined;
  let showFirst = false;
  for (const word of words) {
    const known = LEVELS[word];
    if (known !== undefined) {
      if (level !== undefined) throw parsingError(line.name, 'multiple log levels specified in consolidate');
      if (showFirst) throw parsingError(line.name, 'log level must come before show_first in consolidate');
      level = known;
    } else if (word === 'show_first') showFirst = true;
    else throw parsingError(line.name, `unknown option in consolidate: ${word}`);
  }
  return { level: level ?? 'error', showFirst };
}

const schema = {
  consolidate: {
    syntax: 'DURATION REGEXP [LEVEL] [show_first]',
    doc: 'Count errors that match and report their number once per DURATION.',
    parse: (line): Consolidation[] => {
      const [duration = '', text = '', ...words] = args(line, 2, 4);
      const seconds = parseDuration(duration);
      if (seconds === undefined) throw parsingError(line.name, `time: invalid duration "${duration}"`);
      if (text.length > MAX_PATTERN)
        throw parsingError(line.name, `regex pattern too long: ${text.length} > ${MAX_PATTERN}`);
      let pattern: RegExp;
      try {
        pattern = goPattern(text);
      } catch (error) {
        throw parsingError(line.name, `error parsing regexp: ${(error as Error).message}`);
      }
      return [{ seconds, text, pattern, ...readWords(line, words), count: 0, timer: undefined }];
    },
    join: (before: Consolidation[], after: Consolidation[]) => [...before, ...after],
  },
  stacktrace: { syntax: '', doc: 'Log where a failure inside the server came from.', parse: () => true },
} satisfies OptionSchema;

/** Logs what went wrong while answering: one line per failed query. */
export const errors: Plugin = {
  name: 'errors',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    if (directive.args.length > 0) {
      const [level] = directive.args;
      if (directive.args.length !== 1 || level?.text !== 'stdout') {
        throw parsingError(directive.name, `invalid log file: ${level?.text}`);
      }
    }
    const { consolidate = [] } = parseOptions(schema, directive.block, context.warn);
    const { log } = context.runtime;
    const tell = (rule: Consolidation): void => {
      clearTimeout(rule.timer);
      const { count } = rule;
      rule.count = 0;
      rule.timer = undefined;
      if (count === 0 || (rule.showFirst && count === 1)) return;
      log[rule.level](
        `plugin/errors: ${count} errors like '${rule.text}' occurred in last ${formatDuration(rule.seconds)}`,
      );
    };
    context.onStop(() => consolidate.forEach(tell));
    const report = (error: Error, line: string): void => {
      const rule = consolidate.find(({ pattern }) => pattern.test(error.message));
      if (rule === undefined) return log.error(line);
      rule.count += 1;
      if (rule.count > 1) return;
      rule.timer = setTimeout(() => tell(rule), rule.seconds * 1000).unref();
      if (rule.showFirst) log[rule.level](line);
    };
    const handler: Handler = {
      name: 'errors',
      transparent: true,
      serve: (request, next) =>
        andThen(next(request), (outcome) => {
          if (outcome.kind === 'failure' && outcome.error !== undefined) {
            const { name, query } = request;
            const { error } = outcome;
            report(error, `plugin/errors: ${outcome.rcode} ${name} ${typeName(query.type)}: ${error.message}`);
          }
          return outcome;
        }),
    };
    return handler;
  },
};
