import { parsingError } from '../../corefile/error.ts';
import { args, type OptionSchema, parseDuration, parseOptions } from '../../corefile/options.ts';
import { andThen, type Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { typeName } from '../../wire/index.ts';

/** Equal errors within a time, told once. */
interface Consolidation {
  readonly seconds: number;
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

const schema = {
  consolidate: {
    syntax: 'DURATION REGEXP [LEVEL] [show_first]',
    doc: 'Count errors that match and report their number once per DURATION.',
    parse: (line): Consolidation[] => {
      const words = args(line, 2, 4);
      const showFirst = words.at(-1) === 'show_first';
      if (showFirst) words.pop();
      const seconds = parseDuration(words[0] as string);
      if (seconds === undefined) throw parsingError(line.name, `time: invalid duration "${words[0]}"`);
      if (seconds < 0) throw parsingError(line.name, `invalid duration ${words[0]}`);
      const level = LEVELS[words[2] ?? 'error'];
      if (level === undefined) throw parsingError(line.name, `unknown log level: ${words[2]}`);
      let pattern: RegExp;
      try {
        pattern = new RegExp(words[1] as string);
      } catch (error) {
        throw parsingError(line.name, `cannot read regular expression: ${(error as Error).message}`);
      }
      return [{ seconds, pattern, level, showFirst, count: 0, timer: undefined }];
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
    context.onStop(() => {
      for (const rule of consolidate) clearTimeout(rule.timer);
    });
    const report = (message: string): void => {
      const rule = consolidate.find(({ pattern }) => pattern.test(message));
      if (rule === undefined) {
        log.error(message);
        return;
      }
      rule.count += 1;
      if (rule.count === 1 && rule.showFirst) log[rule.level](message);
      rule.timer ??= setTimeout(() => {
        const { count } = rule;
        rule.count = 0;
        rule.timer = undefined;
        if (!(rule.showFirst && count === 1)) {
          log[rule.level](
            `plugin/errors: ${count} errors like '${rule.pattern.source}' occurred in last ${rule.seconds}s`,
          );
        }
      }, rule.seconds * 1000).unref();
    };
    const handler: Handler = {
      name: 'errors',
      transparent: true,
      serve: (request, next) =>
        andThen(next(request), (outcome) => {
          if (outcome.kind === 'failure' && outcome.error !== undefined) {
            const { name, query } = request;
            report(`plugin/errors: ${outcome.rcode} ${name} ${typeName(query.type)}: ${outcome.error.message}`);
          }
          return outcome;
        }),
    };
    return handler;
  },
};
