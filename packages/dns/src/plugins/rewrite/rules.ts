import { parsingError } from '../../corefile/error.ts';
import type { Token } from '../../corefile/lexer.ts';
import type { Request } from '../../server/request.ts';
import { edns0Rule } from './edns0.ts';
import {
  CLASS,
  concat,
  keyFromText,
  labelOffsets,
  nameFromText,
  nameShape,
  nameToText,
  type Query,
  rcodeNumber,
  type Rr,
  typeNumber,
} from '../../wire/index.ts';

/** What a rule does to an answer on its way back. */
export interface ResponseChange {
  /** Owner names, without final dot questions: text with final dot, case as it is. Undefined leaves it. */
  readonly owner?: (name: string) => string | undefined;
  /** Names inside of record data. */
  readonly value?: (name: string) => string | undefined;
  readonly ttl?: { readonly min: number; readonly max: number };
  readonly rcode?: { readonly from: number; readonly to: number };
  /** Another target for an alias, in lower case with final dot: the server is asked for it. */
  readonly alias?: (target: string) => string | undefined;
}

export interface Rule {
  readonly mode: 'continue' | 'stop';
  /** The changed query, or the same when only the answer changes; undefined when the rule does not apply. */
  apply(
    request: Request,
    query: Query,
  ): { readonly query: Query; readonly response?: readonly ResponseChange[] } | undefined;
}

type Match = 'exact' | 'prefix' | 'suffix' | 'substring' | 'regex';
const MATCHES: readonly string[] = ['exact', 'prefix', 'suffix', 'substring', 'regex'];

/** Rewrites a name that matches; undefined when it does not. Names in lower case with final dot. */
type Rewriter = (name: string) => string | undefined;

const dotted = (name: string): string => (name.endsWith('.') ? name : `${name}.`);

/** A pattern of Go's RE2. What only RE2 knows is refused. */
function regexp(token: Token): RegExp {
  const insensitive = token.text.startsWith('(?i)');
  try {
    return new RegExp(insensitive ? token.text.slice(4) : token.text, insensitive ? 'i' : '');
  } catch (error) {
    throw parsingError(token, `invalid regex pattern in a name rule: ${(error as Error).message}`);
  }
}

/** `{1}` in a replacement stands for what a group has matched; a name that lacks one is not rewritten. */
function byRegex(token: Token, to: string): Rewriter {
  const pattern = regexp(token);
  return (name) => {
    const found = pattern.exec(name);
    if (found === null) return undefined;
    return to.replace(/\{(\d+)\}/g, (whole, group: string) => found[Number(group)] ?? whole);
  };
}

function rewriter(match: Match, from: Token, to: string): Rewriter {
  const text = from.text.toLowerCase();
  switch (match) {
    case 'exact':
      return (name) => (name === dotted(text) ? dotted(to) : undefined);
    case 'prefix':
      return (name) => (name.startsWith(text) ? to + name.slice(text.length) : undefined);
    case 'suffix':
      return (name) => (name.endsWith(dotted(text)) ? name.slice(0, -dotted(text).length) + dotted(to) : undefined);
    case 'substring':
      return (name) => (name.includes(text) ? name.replaceAll(text, to) : undefined);
    case 'regex':
      return byRegex(from, to);
  }
}

/** The way back of a rewritten name, for `answer auto`. */
function inverse(match: Match, from: string, to: string): Rewriter | undefined {
  const token = { text: to, file: '', line: 0 } as Token;
  return match === 'regex' ? undefined : rewriter(match, token, from);
}

/** A query with another name. Throws WireError when the name cannot be one. */
function renamed(query: Query, name: string): Query {
  const qname = nameFromText(dotted(name));
  const key = keyFromText(dotted(name));
  return { ...query, qname, key, labels: labelOffsets(key) };
}

const textOf = (query: Query): string => nameToText(query.qname).toLowerCase();

/** Reads one `rewrite` line. @throws CorefileError that names the word. */
export function readRule(words: readonly Token[]): Rule {
  const [first, ...rest] = words;
  if (first === undefined) throw new Error('no rule type specified for rewrite');
  const given = first.text.toLowerCase();
  const mode = given === 'continue' || given === 'stop' ? given : undefined;
  const [kind, ...args] = mode === undefined ? words : rest;
  if (kind === undefined) throw parsingError(first, 'no rule type specified for rewrite');
  switch (kind.text.toLowerCase()) {
    case 'name':
      return nameRule(mode ?? 'stop', kind, args);
    case 'class':
    case 'type':
      return fieldRule(mode ?? 'stop', kind, args);
    case 'ttl':
      return ttlRule(mode ?? 'stop', kind, args);
    case 'rcode':
      return rcodeRule(mode ?? 'stop', kind, args);
    case 'answer':
      throw parsingError(kind, 'response rewrites must begin with a name rule');
    case 'edns0':
      return edns0Rule(mode ?? 'stop', kind, args);
    case 'cname':
      return cnameRule(mode ?? 'stop', kind, args);
    default:
      throw parsingError(kind, `invalid rule type "${kind.text}"`);
  }
}

function nameRule(mode: Rule['mode'], at: Token, words: readonly Token[]): Rule {
  const named = words[0] !== undefined && MATCHES.includes(words[0].text.toLowerCase());
  const match = (named ? (words[0] as Token).text.toLowerCase() : 'exact') as Match;
  const [from, to, ...more] = named ? words.slice(1) : words;
  if (from === undefined || to === undefined) throw parsingError(at, 'too few arguments for a name rule');
  const rewrite = rewriter(match, from, to.text);
  const response: ResponseChange[] = [];
  // An exact rule knows its way back; the others have to be told.
  let auto = match === 'exact';
  for (let i = 0; i < more.length; ) {
    if (more[i]?.text.toLowerCase() !== 'answer')
      throw parsingError(more[i] as Token, `exceeded the number of arguments for a ${match} rule`);
    const what = more[i + 1]?.text.toLowerCase();
    if (what === 'auto') {
      if (match === 'regex') throw parsingError(more[i] as Token, '"answer auto" cannot be used with a regex rule');
      auto = true;
      i += 2;
      continue;
    }
    // `answer name FROM TO`, `answer value FROM TO`, and the older `answer FROM TO`.
    const explicit = what === 'name' || what === 'value';
    const [pattern, replacement] = more.slice(i + (explicit ? 2 : 1), i + (explicit ? 4 : 3));
    if (pattern === undefined || replacement === undefined)
      throw parsingError(more[i] as Token, 'invalid syntax for response rewriter: answer [name|value] REGEX STRING');
    const change = byRegex(pattern, replacement.text);
    response.push(what === 'value' ? { value: change } : { owner: change });
    i += explicit ? 4 : 3;
  }
  return {
    mode,
    apply(_request, query) {
      const name = textOf(query);
      const next = rewrite(name);
      if (next === undefined) return undefined;
      const back = auto ? inverse(match, from.text.toLowerCase(), to.text.toLowerCase()) : undefined;
      return { query: renamed(query, next), response: back === undefined ? response : [...response, { owner: back }] };
    },
  };
}

function fieldRule(mode: Rule['mode'], kind: Token, words: readonly Token[]): Rule {
  const field = kind.text.toLowerCase() as 'class' | 'type';
  const [from, to, extra] = words;
  if (from === undefined || to === undefined || extra !== undefined) {
    throw parsingError(kind, `${field} rules must have exactly two arguments`);
  }
  const read = (token: Token): number => {
    const value =
      field === 'type' ? typeNumber(token.text) : (CLASS as Record<string, number>)[token.text.toUpperCase()];
    if (value === undefined) throw parsingError(token, `invalid ${field} "${token.text}"`);
    return value;
  };
  const [a, b] = [read(from), read(to)];
  return { mode, apply: (_request, query) => (query[field] === a ? { query: { ...query, [field]: b } } : undefined) };
}

/** The name that a ttl or rcode rule is for, and what follows. */
function scope(
  kind: Token,
  words: readonly Token[],
  count: number,
): { hits: (name: string) => boolean; args: readonly Token[] } {
  const named = words[0] !== undefined && MATCHES.includes(words[0].text.toLowerCase());
  const match = (named ? (words[0] as Token).text.toLowerCase() : 'exact') as Match;
  const [name, ...args] = named ? words.slice(1) : words;
  if (name === undefined || args.length !== count)
    throw parsingError(kind, `wrong number of arguments for a ${kind.text} rule`);
  const rewrite = rewriter(match, name, '');
  return { hits: (text) => rewrite(text) !== undefined, args };
}

function ttlRule(mode: Rule['mode'], kind: Token, words: readonly Token[]): Rule {
  const { hits, args } = scope(kind, words, 1);
  const range = args[0] as Token;
  const found = /^(?:(\d*)-(\d*)|(\d+))$/.exec(range.text);
  if (found === null || range.text === '-')
    throw parsingError(range, `invalid TTL '${range.text}'`, 'write SECONDS, MIN-MAX, MIN- or -MAX');
  const [, low, high, exactly] = found;
  const min = Number(exactly ?? (low === '' ? 0 : low));
  const max = Number(exactly ?? (high === '' ? 2_147_483_647 : high));
  if (min > max) throw parsingError(range, `invalid TTL range '${range.text}'`);
  return {
    mode,
    apply: (_request, query) => (hits(textOf(query)) ? { query, response: [{ ttl: { min, max } }] } : undefined),
  };
}

function rcodeRule(mode: Rule['mode'], kind: Token, words: readonly Token[]): Rule {
  const { hits, args } = scope(kind, words, 2);
  const [from, to] = args.map((token) => {
    const value = /^\d+$/.test(token.text) ? Number(token.text) : rcodeNumber(token.text.toUpperCase());
    if (value === undefined || value > 23) throw parsingError(token, `invalid rcode '${token.text}'`);
    return value;
  }) as [number, number];
  return {
    mode,
    apply: (_request, query) => (hits(textOf(query)) ? { query, response: [{ rcode: { from, to } }] } : undefined),
  };
}

function cnameRule(mode: Rule['mode'], kind: Token, words: readonly Token[]): Rule {
  const [given, from, to] = words.length === 3 ? words : [undefined, ...words];
  if (from === undefined || to === undefined || words.length > 3)
    throw parsingError(kind, `too few (${words.length}) arguments for a cname rule`);
  const match = given?.text.toLowerCase() ?? 'exact';
  if (!MATCHES.includes(match)) throw parsingError(given ?? kind, `unknown cname rewrite type: ${match}`);
  const target = to.text.toLowerCase();
  const text = from.text.toLowerCase();
  // Other than in name rules, a suffix has to have the final dot.
  const alias: Rewriter =
    match === 'suffix'
      ? (name) => (name.endsWith(text) ? name.slice(0, name.length - text.length) + target : undefined)
      : rewriter(match as Match, { ...from, text }, target);
  return { mode, apply: (_request, query) => ({ query, response: [{ alias }] }) };
}

/** A record after one change. `owner` is the name that an absent one stands for. */
export function changeRecord(rr: Rr, change: ResponseChange, owner: Uint8Array): Rr {
  let out = rr;
  if (change.ttl !== undefined) {
    out = { ...out, ttl: Math.min(Math.max(out.ttl, change.ttl.min), change.ttl.max) };
  }
  const renamedOwner = change.owner?.(nameToText(rr.name ?? owner).toLowerCase());
  if (renamedOwner !== undefined) out = { ...out, name: nameFromText(dotted(renamedOwner)) };
  const shape = change.value === undefined ? undefined : nameShape(rr.type);
  if (shape === undefined) return out;
  const { skip, names } = shape;
  const parts: Uint8Array[] = [rr.rdata.subarray(0, skip)];
  let at = skip;
  for (let i = 0; i < names; i++) {
    let end = at;
    while (rr.rdata[end] !== 0) end += (rr.rdata[end] as number) + 1;
    const text = nameToText(rr.rdata, at);
    const next = change.value?.(text.toLowerCase());
    parts.push(next === undefined ? rr.rdata.subarray(at, end + 1) : nameFromText(dotted(next)));
    at = end + 1;
  }
  parts.push(rr.rdata.subarray(at));
  return { ...out, rdata: concat(parts) };
}
