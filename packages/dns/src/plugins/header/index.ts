import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Line } from '../../corefile/directive.ts';
import type { OptionSchema } from '../../corefile/options.ts';
import { andThen, type Handler, type Outcome } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import { FLAG } from '../../wire/index.ts';

const FLAGS: Readonly<Record<string, number>> = { aa: FLAG.AA, ra: FLAG.RA, rd: FLAG.RD };

/** Bits to set and to clear. */
interface Change {
  set: number;
  clear: number;
}

const schema = {
  query: {
    syntax: 'set|clear FLAG…',
    doc: 'Flags of queries, for the plugins that come after this one.',
    parse: (line: Line) => line,
  },
  response: { syntax: 'set|clear FLAG…', doc: 'Flags of answers.', parse: (line: Line) => line },
} satisfies OptionSchema;

function changeOf({ name, args }: Line, into: Change): void {
  const [action, ...flags] = args;
  if (action === undefined) throw argumentError(name, name.text);
  if (action.text !== 'set' && action.text !== 'clear')
    throw parsingError(action, `unknown flag action=${action.text}, should be set or clear`);
  if (flags.length === 0) throw parsingError(action, 'invalid length for flags, at least one should be provided');
  for (const flag of flags) {
    const bit = FLAGS[flag.text.toLowerCase()];
    if (bit === undefined) throw parsingError(flag, `unknown/unsupported flag=${flag.text}`);
    into[action.text] |= bit;
  }
}

const apply = (flags: number, { set, clear }: Change): number => (flags | set) & ~clear;

/** Sets and clears flags of queries and answers. */
export const header: Plugin = {
  name: 'header',
  once: false,
  options: schema,
  setup(directives) {
    const query: Change = { set: 0, clear: 0 };
    const response: Change = { set: 0, clear: 0 };
    for (const directive of directives) {
      const [extra] = directive.args;
      if (extra !== undefined) throw argumentError(extra, extra.text);
      for (const line of directive.block ?? []) {
        if (line.name.text === 'query') changeOf(line, query);
        else if (line.name.text === 'response') changeOf(line, response);
        // Before 1.9 a line was the action itself.
        else if (line.name.text === 'set' || line.name.text === 'clear')
          changeOf({ ...line, args: [line.name, ...line.args] }, response);
        else throw parsingError(line.name, `unknown flag selector=${line.name.text}, should be query or response`);
      }
      if ((directive.block ?? []).length === 0) throw argumentError(directive.name, 'header');
    }
    const handler: Handler = {
      name: 'header',
      serve(request, next) {
        const asked = request.query.flags;
        request.query = { ...request.query, flags: apply(asked, query) };
        return andThen(next(request), (outcome): Outcome => {
          // RD of an answer is that of its query.
          request.query = {
            ...request.query,
            flags: apply(asked, { set: response.set & FLAG.RD, clear: response.clear & FLAG.RD }),
          };
          return outcome.kind === 'reply' ? { ...outcome, flags: apply(outcome.flags, response) } : outcome;
        });
      },
    };
    return handler;
  },
};
