import { argumentError, parsingError } from '../../corefile/error.ts';
import { type OptionSchema, parseOptions } from '../../corefile/options.ts';
import { compileExpression, type Expression } from '../../expression/evaluate.ts';
import { queryEnvironment } from '../../expression/query.ts';
import type { Handler } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';

const schema = {
  expr: {
    syntax: 'EXPRESSION',
    doc: 'The block is for queries for which EXPRESSION is true; with several lines all must be.',
    parse: (line): Expression[] => {
      try {
        return [compileExpression(line.args.map(({ text }) => text).join(' '), queryEnvironment())];
      } catch (error) {
        throw parsingError(line.name, (error as Error).message, 'the README of view lists what expressions may ask');
      }
    },
    join: (before: Expression[], after: Expression[]) => [...before, ...after],
  },
} satisfies OptionSchema;

/** Leaves the queries for which its expressions are not true to other blocks of the zone. */
export const view: Plugin = {
  name: 'view',
  once: true,
  options: schema,
  setup(directives, context) {
    const directive = directives[0] as (typeof directives)[number];
    const [name, extra] = directive.args;
    if (name === undefined || extra !== undefined) throw argumentError(extra ?? directive.name, extra?.text ?? 'view');
    const { expr = [] } = parseOptions(schema, directive.block, context.warn);
    const handler: Handler = {
      name: 'view',
      transparent: true,
      serve: (request, next) => next(request),
      describe: (_, say) => say('view/name', () => name.text),
      filter: {
        name: name.text,
        accepts: (request) => {
          const environment = queryEnvironment(request);
          try {
            return expr.every((expression) => expression(environment) === true);
          } catch {
            // What cannot be decided is not for this block.
            return false;
          }
        },
      },
    };
    return handler;
  },
};
