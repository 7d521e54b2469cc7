import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Directive, Line } from '../../corefile/directive.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { OptionSchema } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { goPattern } from '../../expression/parse.ts';
import { authoritative, bareReply, failure, type Handler, type Outcome } from '../../server/handler.ts';
import type { Plugin } from '../../server/plugin.ts';
import type { Request } from '../../server/request.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import {
  CLASS,
  className,
  nameToText,
  RCODE,
  rcodeNumber,
  recordFromText,
  type Rr,
  typeName,
  typeNumber,
  TYPE,
} from '../../wire/index.ts';
import { readTemplate, type Template } from './language.ts';

const line = (syntax: string, doc: string) => ({ syntax, doc, parse: (l: Line) => l });

const schema = {
  match: line('REGEX…', 'Patterns of which one must match the name; its groups are `.Match` and `.Group`.'),
  answer: line('RR', 'A record of the answer, as a template.'),
  additional: line('RR', 'A record beside the answer.'),
  authority: line('RR', 'A record of the authority section.'),
  rcode: line('CODE', 'Code of the answer. Default NOERROR.'),
  fallthrough: line('[ZONE…]', 'Names that match nothing go to the next plugin; in these zones only, or in all.'),
} satisfies OptionSchema;

const MAX_PATTERN = 10_000;
const SECTIONS = ['answer', 'additional', 'authority'] as const;
type Section = (typeof SECTIONS)[number];

interface Rule {
  readonly class: number;
  readonly type: number;
  readonly zones: ZoneSet;
  readonly patterns: readonly RegExp[];
  readonly records: Readonly<Record<Section, readonly Template[]>>;
  readonly rcode: number;
  readonly through: ZoneSet | undefined;
}

function patternOf(token: Token): RegExp {
  if (token.text.length > MAX_PATTERN) {
    throw parsingError(token, `regex pattern too long: ${token.text.length} > ${MAX_PATTERN}`);
  }
  try {
    return goPattern(token.text);
  } catch (error) {
    throw parsingError(token, `could not parse regex: ${token.text}, ${(error as Error).message}`);
  }
}

function templateOf(token: Token): Template {
  try {
    return readTemplate(token.text);
  } catch (error) {
    throw parsingError(token, `could not compile template: ${token.text}, ${(error as Error).message}`);
  }
}

function readRule(directive: Directive, zones: readonly string[]): Rule {
  const [cls, type, ...zoneTokens] = directive.args;
  if (cls === undefined || type === undefined) throw argumentError(directive.name, 'template');
  const classNumber = (CLASS as Record<string, number>)[cls.text.toUpperCase()];
  if (classNumber === undefined) throw parsingError(cls, `invalid query class ${cls.text}`);
  const typeValue = typeNumber(type.text);
  if (typeValue === undefined) throw parsingError(type, `invalid RR class ${type.text}`);
  const own = zoneTokens.flatMap((token) => zonesFromArgument(token));
  const patterns: RegExp[] = [];
  const records: Record<Section, Template[]> = { answer: [], additional: [], authority: [] };
  let rcode: number = RCODE.NOERROR;
  let through: ZoneSet | undefined;
  for (const { name, args } of directive.block ?? []) {
    switch (name.text) {
      case 'match':
        if (args.length === 0) throw argumentError(name, 'match');
        patterns.push(...args.map(patternOf));
        break;
      case 'answer':
      case 'additional':
      case 'authority':
        if (args.length === 0) throw argumentError(name, name.text);
        records[name.text].push(...args.map(templateOf));
        break;
      case 'rcode': {
        const [code] = args;
        const value = code === undefined ? undefined : rcodeNumber(code.text.toUpperCase());
        if (code === undefined) throw argumentError(name, 'rcode');
        if (value === undefined) throw parsingError(code, `unknown rcode ${code.text}`);
        rcode = value;
        break;
      }
      case 'fallthrough': {
        const list = args.flatMap((token) => zonesFromArgument(token));
        through = new ZoneSet(list.length === 0 ? ['.'] : list);
        break;
      }
      // A word of long ago that changes nothing.
      case 'upstream':
        break;
      default:
        throw parsingError(
          name,
          `unknown property '${name.text}'`,
          `known properties: ${Object.keys(schema).join(', ')}`,
        );
    }
  }
  if (records.answer.length === 0 && records.authority.length === 0 && rcode === RCODE.NOERROR) {
    throw parsingError(directive.name, 'no answer section for a template found: not handled');
  }
  return {
    class: classNumber,
    type: typeValue,
    zones: new ZoneSet(own.length > 0 ? own : zones),
    patterns: patterns.length > 0 ? patterns : [/.*/],
    records,
    rcode,
    through,
  };
}

/** What a template sees as `.`. */
function dataOf(request: Request, zone: string, match: RegExpExecArray): object {
  const { query } = request;
  const name = nameToText(query.qname);
  const groups = new Map<string, string>();
  match.forEach((text, i) => groups.set(String(i), text ?? ''));
  for (const [key, text] of Object.entries(match.groups ?? {})) groups.set(key, text ?? '');
  return {
    Zone: zone,
    Name: name,
    Class: className(query.class),
    Type: typeName(query.type),
    Match: [...match].map((text) => text ?? ''),
    Group: groups,
    Question: { Name: name, Qtype: query.type, Qclass: query.class },
    Message: { Id: query.id, Question: [{ Name: name, Qtype: query.type, Qclass: query.class }] },
    Remote: request.context.remoteAddress,
    Meta: (label: unknown) => request.label(String(label)),
  };
}

/** Answers by templates: records made from the question. */
export const template: Plugin = {
  name: 'template',
  once: false,
  options: schema,
  setup(directives, { block, runtime }) {
    const rules = directives.map((directive) => readRule(directive, block.zones));
    const { metrics } = runtime;
    const labels = ['zone', 'class', 'type'];
    const matched = metrics.counter('coredns_template_matches_total', 'Counter of template regex matches.', labels);
    const failed = metrics.counter('coredns_template_rr_failures_total', 'Counter of mis-templated RRs.', [
      ...labels,
      'section',
      'template',
    ]);
    const fill = (rule: Rule, section: Section, data: object, at: readonly [string, string, string]): Rr[] =>
      rule.records[section].map((make) => {
        let text = '';
        try {
          text = make(data);
          return recordFromText(text);
        } catch (error) {
          failed.cell(...at, section, text).value += 1;
          throw error;
        }
      });
    const answer = (rule: Rule, request: Request): Outcome | 'next' | undefined => {
      const { query } = request;
      if (rule.class !== CLASS.ANY && query.class !== CLASS.ANY && rule.class !== query.class) return 'next';
      if (rule.type !== TYPE.ANY && query.type !== TYPE.ANY && rule.type !== query.type) return 'next';
      const zone = rule.zones.match(query.key, query.labels);
      if (zone === undefined) return 'next';
      const match = rule.patterns.map((pattern) => pattern.exec(request.name)).find((found) => found !== null);
      if (match === undefined || match === null)
        return rule.through?.has(query.key, query.labels) === true ? 'next' : undefined;
      const at = [zone, className(query.class), typeName(query.type)] as const;
      matched.cell(...at).value += 1;
      if (rule.rcode === RCODE.SERVFAIL) return failure('template', RCODE.SERVFAIL);
      const data = dataOf(request, zone, match);
      try {
        return authoritative('template', {
          rcode: rule.rcode,
          answers: fill(rule, 'answer', data, at),
          authority: fill(rule, 'authority', data, at),
          additional: fill(rule, 'additional', data, at),
        });
      } catch (error) {
        return failure('template', RCODE.SERVFAIL, error as Error);
      }
    };
    const handler: Handler = {
      name: 'template',
      serve(request, next) {
        for (const rule of rules) {
          const outcome = answer(rule, request);
          if (outcome === undefined) return bareReply(RCODE.NXDOMAIN, 'template');
          if (outcome !== 'next') return outcome;
        }
        return next(request);
      },
    };
    return handler;
  },
};
