import { argumentError, parsingError } from '../../corefile/error.ts';
import type { Directive, Line } from '../../corefile/directive.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { OptionSchema } from '../../corefile/options.ts';
import { zonesFromArgument } from '../../corefile/zones.ts';
import { compileExpression, type Entry, type Expression } from '../../expression/evaluate.ts';
import { goPattern, isReserved } from '../../expression/parse.ts';
import { queryEnvironment } from '../../expression/query.ts';
import { ZoneSet } from '../../server/zoneset.ts';
import { CLASS, concat, RCODE, rcodeNumber, typeNumber } from '../../wire/index.ts';
import { readTemplate, type Template } from './language.ts';

const line = (syntax: string, doc: string) => ({ syntax, doc, parse: (l: Line) => l });

export const schema = {
  match: line('REGEX…', 'Patterns of which one must match the name; its groups are `.Match` and `.Group`.'),
  var: line('NAME EXPRESSION', 'A value made from the query, `.Var.NAME` in templates and NAME in later expressions.'),
  expr: line('EXPRESSION', 'Must be true for the query, or nothing has matched.'),
  answer: line('RR', 'A record of the answer, as a template.'),
  additional: line('RR', 'A record beside the answer.'),
  authority: line('RR', 'A record of the authority section.'),
  rcode: line('CODE', 'Code of the answer. Default NOERROR.'),
  ederror: line('NUMBER [TEXT]', 'An extended error (RFC 8914) for clients that speak EDNS.'),
  fallthrough: line('[ZONE…]', 'Names that match nothing go to the next plugin; in these zones only, or in all.'),
} satisfies OptionSchema;

/** Sections of an answer. */
export type Section = 'answer' | 'additional' | 'authority';

const MAX_PATTERN = 10_000;
/** EDNS option of extended errors. */
const EDE = 15;

/** A template with its source, which metrics name. */
interface SourcedTemplate {
  readonly text: string;
  readonly make: Template;
}

export interface Rule {
  readonly class: number;
  readonly type: number;
  readonly zones: ZoneSet;
  readonly patterns: readonly RegExp[];
  readonly variables: readonly { readonly name: string; readonly value: Expression }[];
  readonly conditions: readonly Expression[];
  readonly records: Readonly<Record<Section, readonly SourcedTemplate[]>>;
  readonly rcode: number;
  /** EDNS options of the answer. */
  readonly options: Uint8Array | undefined;
  readonly through: ZoneSet | undefined;
}

/** What expressions of templates may ask: about the query, and the groups of the pattern. */
export function environmentOf(base: Map<string, Entry>, groups: ReadonlyMap<string, string>): Map<string, Entry> {
  return base.set('group', {
    args: [1, 1],
    call: (name) => (typeof name === 'number' || typeof name === 'string' ? (groups.get(String(name)) ?? '') : ''),
  });
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

function templateOf(token: Token): SourcedTemplate {
  try {
    return { text: token.text, make: readTemplate(token.text) };
  } catch (error) {
    throw parsingError(token, `could not compile template: ${token.text}, ${(error as Error).message}`);
  }
}

function expressionOf(words: readonly Token[], names: ReadonlyMap<string, Entry>, variable?: string): Expression {
  try {
    return compileExpression(words.map(({ text }) => text).join(' '), names);
  } catch (error) {
    const which = variable === undefined ? '' : ` ${variable},`;
    throw parsingError(words[0] as Token, `could not compile expression:${which} ${(error as Error).message}`);
  }
}

function extendedError(name: Token, args: readonly Token[]): Uint8Array {
  const [code, text, extra] = args;
  if (code === undefined || extra !== undefined) throw argumentError(name, 'ederror');
  if (!/^[0-9]+$/.test(code.text) || Number(code.text) > 0xffff)
    throw parsingError(code, `error parsing extended DNS error code ${code.text}`);
  const reason = Buffer.from(text?.text ?? '', 'utf8');
  const head = new DataView(new ArrayBuffer(6));
  head.setUint16(0, EDE);
  head.setUint16(2, reason.length + 2);
  head.setUint16(4, Number(code.text));
  return concat([new Uint8Array(head.buffer), reason]);
}

function readClassAndType(directive: Directive): { class: number; type: number } {
  const [cls, type] = directive.args;
  if (cls === undefined || type === undefined) throw argumentError(directive.name, 'template');
  const classNumber = (CLASS as Record<string, number>)[cls.text.toUpperCase()];
  if (classNumber === undefined) throw parsingError(cls, `invalid query class ${cls.text}`);
  const typeValue = typeNumber(type.text);
  if (typeValue === undefined) throw parsingError(type, `invalid RR class ${type.text}`);
  return { class: classNumber, type: typeValue };
}

/** Reads one use of the plugin. `zones` are those of the block. @throws CorefileError. */
export function readRule(directive: Directive, zones: readonly string[]): Rule {
  const asked = readClassAndType(directive);
  const own = directive.args.slice(2).flatMap((token) => zonesFromArgument(token));
  const patterns: RegExp[] = [];
  const variables: Rule['variables'][number][] = [];
  const conditions: Expression[] = [];
  const names = environmentOf(queryEnvironment(), new Map());
  const records: Record<Section, SourcedTemplate[]> = { answer: [], additional: [], authority: [] };
  let rcode: number = RCODE.NOERROR;
  let options: Uint8Array | undefined;
  let through: ZoneSet | undefined;
  for (const { name, args } of directive.block ?? []) {
    switch (name.text) {
      case 'match':
        if (args.length === 0) throw argumentError(name, 'match');
        patterns.push(...args.map(patternOf));
        break;
      case 'var': {
        const [variable, ...rest] = args;
        if (variable === undefined || rest.length === 0) throw argumentError(name, 'var');
        if (!/^[A-Za-z_]\w*$/.test(variable.text))
          throw parsingError(variable, `invalid variable name "${variable.text}"`);
        if (names.has(variable.text) || isReserved(variable.text))
          throw parsingError(variable, `variable name "${variable.text}" is reserved`);
        variables.push({ name: variable.text, value: expressionOf(rest, names, variable.text) });
        names.set(variable.text, { value: undefined });
        break;
      }
      case 'expr':
        if (args.length === 0) throw argumentError(name, 'expr');
        conditions.push(expressionOf(args, names));
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
      case 'ederror':
        options = extendedError(name, args);
        break;
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
  return {
    ...asked,
    zones: new ZoneSet(own.length > 0 ? own : zones),
    patterns: patterns.length > 0 ? patterns : [/.*/],
    variables,
    conditions,
    records,
    rcode,
    options,
    through,
  };
}
