import path from 'node:path';
import { WeftError } from '@weft/plan';
import {
  nameFromText,
  nameOf,
  recordFromWords,
  type RecordWord,
  recordWords,
  type Rr,
  type Soa,
  soaOf,
  ttlOf,
  TYPE,
} from '../wire/index.ts';

/** One entry of a master file: what stands on a line, or on several within parentheses. */
interface Entry {
  readonly line: number;
  /** True when it starts with a blank: the owner is that of the entry before. */
  readonly blank: boolean;
  readonly text: string;
}

export interface MasterOptions {
  /** Name of the file, for errors and for `$INCLUDE`. */
  readonly file: string;
  /** Name in text that relative names are below, until `$ORIGIN` says otherwise. */
  readonly origin: string;
  /** Reads an included file; without it `$INCLUDE` is an error. */
  readonly include?: (path: string) => string;
}

const MAX_DEPTH = 7;
/** Records that one `$GENERATE` may make. */
const MAX_GENERATED = 65_536;

interface State {
  origin: Uint8Array;
  owner: Uint8Array | undefined;
  /** Of `$TTL`. */
  ttl: number | undefined;
  lastTtl: number | undefined;
}

/**
 * Reads a master file (RFC 1035 section 5): `$ORIGIN`, `$TTL` (RFC 2308), `$INCLUDE`, and BIND's `$GENERATE`. Records
 * without TTL get that of `$TTL`, else of the record before, else the minimum of the SOA record.
 * @throws WeftError `DNS_ZONE_FILE` with file and line.
 */
export function parseMaster(text: string, options: MasterOptions): Rr[] {
  const state: State = { origin: nameFromText(options.origin), owner: undefined, ttl: undefined, lastTtl: undefined };
  const out: Rr[] = [];
  readEntries(text, options, state, out, 0);
  return out;
}

function readEntries(text: string, options: MasterOptions, state: State, out: Rr[], depth: number): void {
  for (const entry of entriesOf(text, options.file)) {
    try {
      readEntry(entry, options, state, out, depth);
    } catch (error) {
      if (error instanceof WeftError) throw error;
      throw wrong(options.file, entry.line, (error as Error).message, error);
    }
  }
}

function wrong(file: string, line: number, message: string, cause?: unknown): WeftError {
  return new WeftError({
    code: 'DNS_ZONE_FILE',
    message: `${file}:${line}: ${message}`,
    hint: 'write records as RFC 1035 section 5 says, for example: www 300 IN A 192.0.2.1',
    cause,
  });
}

function readEntry(entry: Entry, options: MasterOptions, state: State, out: Rr[], depth: number): void {
  const words = recordWords(entry.text);
  const first = words[0] as RecordWord;
  if (!entry.blank && !first.quoted && first.text.startsWith('$')) {
    return readDirective(first.text.toUpperCase(), words.slice(1), entry, options, state, out, depth);
  }
  const owner = entry.blank ? state.owner : nameOf(first.text, state.origin);
  if (owner === undefined) throw wrong(options.file, entry.line, 'the first record has no owner');
  state.owner = owner;
  out.push(recordOf(owner, entry.blank ? words : words.slice(1), state, entry.text));
}

function recordOf(owner: Uint8Array, words: readonly RecordWord[], state: State, whole: string): Rr {
  const inherited = state.ttl ?? state.lastTtl;
  const { rr, ownTtl } = recordFromWords(owner, words, { origin: state.origin, ttl: inherited ?? -1 }, whole);
  const ttl = rr.ttl >= 0 ? rr.ttl : rr.type === TYPE.SOA ? (soaOf(rr) as Soa).minimum : 3600;
  if (ownTtl || (rr.type === TYPE.SOA && inherited === undefined)) state.lastTtl = ttl;
  return rr.ttl === ttl ? rr : { ...rr, ttl };
}

function readDirective(
  name: string,
  words: readonly RecordWord[],
  entry: Entry,
  options: MasterOptions,
  state: State,
  out: Rr[],
  depth: number,
): void {
  const fail = (message: string): WeftError => wrong(options.file, entry.line, message);
  const [first, second] = words;
  if (first === undefined) throw fail(`${name} needs an argument`);
  switch (name) {
    case '$ORIGIN':
      state.origin = nameOf(first.text, state.origin);
      return;
    case '$TTL':
      state.ttl = ttlOf(first.text);
      if (state.ttl === undefined) throw fail(`${JSON.stringify(first.text)} is no TTL`);
      return;
    case '$INCLUDE': {
      if (options.include === undefined) throw fail('$INCLUDE is not possible here');
      if (depth >= MAX_DEPTH) throw fail(`$INCLUDE more than ${MAX_DEPTH} deep`);
      const file = path.resolve(path.dirname(options.file), first.text);
      let text: string;
      try {
        text = options.include(file);
      } catch (error) {
        throw fail(`cannot read ${file}: ${(error as Error).message}`);
      }
      // RFC 1035: an included file changes neither the origin nor the owner of what follows.
      const inner: State = {
        ...state,
        origin: second === undefined ? state.origin : nameOf(second.text, state.origin),
      };
      readEntries(text, { ...options, file }, inner, out, depth + 1);
      return;
    }
    case '$GENERATE':
      for (const { owner, rest } of generated(words, fail)) {
        out.push(recordOf(nameOf(owner, state.origin), recordWords(rest), state, entry.text));
      }
      return;
    default:
      throw fail(`unknown directive ${name}`);
  }
}

function* generated(
  words: readonly RecordWord[],
  fail: (message: string) => WeftError,
): IterableIterator<{ owner: string; rest: string }> {
  const range = /^(\d+)-(\d+)(?:\/(\d+))?$/.exec(words[0]?.text ?? '');
  if (range === null || words.length < 4) throw fail('$GENERATE needs START-STOP[/STEP], an owner, a type and data');
  const [start, stop, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
  if (step < 1 || stop < start || (stop - start) / step >= MAX_GENERATED) {
    throw fail(`$GENERATE range ${words[0]?.text} is empty or longer than ${MAX_GENERATED}`);
  }
  const owner = (words[1] as RecordWord).text;
  const rest = words
    .slice(2)
    .map(({ text, quoted }) => (quoted ? `"${text.replaceAll(/["\\]/g, '\\$&')}"` : text))
    .join(' ');
  for (let i = start; i <= stop; i += step) yield { owner: fill(owner, i, fail), rest: fill(rest, i, fail) };
}

const BASES: Readonly<Record<string, number>> = { d: 10, o: 8, x: 16, X: 16 };

/** Puts the number in the place of `$` and `${OFFSET,WIDTH,BASE}`; `\$` is a dollar sign. */
function fill(text: string, value: number, fail: (message: string) => WeftError): string {
  return text.replaceAll(/\\\$|\$\{([^}]*)\}|\$/g, (found, modifier: string | undefined) => {
    if (found === '\\$') return '$';
    if (modifier === undefined) return String(value);
    const match = /^(-?\d+)(?:,(\d{1,3})(?:,([doxX]))?)?$/.exec(modifier);
    if (match === null) throw fail(`bad modifier \${${modifier}} in $GENERATE`);
    const sum = value + Number(match[1]);
    if (sum < 0) throw fail(`bad offset in $GENERATE: ${sum}`);
    const digits = sum.toString(BASES[match[3] ?? 'd']).padStart(Math.min(255, Number(match[2] ?? 0)), '0');
    return match[3] === 'X' ? digits.toUpperCase() : digits;
  });
}

/** Cuts a file into entries: comments are dropped and parentheses join lines. */
function* entriesOf(text: string, file: string): IterableIterator<Entry> {
  let start = 1;
  let line = 1;
  let depth = 0;
  let quoted = false;
  let current = '';
  for (let i = 0; i <= text.length; i++) {
    const c = text[i] ?? '\n';
    if (c === '\n' && i < text.length) line += 1;
    if (c === '\\' && text[i + 1] !== '\n' && i + 1 < text.length) {
      current += c + text[i + 1];
      i += 1;
    } else if (c === '"') {
      quoted = !quoted;
      current += c;
    } else if (c === '\n' && quoted) throw wrong(file, start, 'a quote is not closed');
    else if (quoted) current += c;
    else if (c === ';') {
      while (i + 1 < text.length && text[i + 1] !== '\n') i += 1;
    } else if (c === '(' || c === ')') {
      depth += c === '(' ? 1 : -1;
      if (depth < 0) throw wrong(file, line, 'a parenthesis closes that was not opened');
      current += ' ';
    } else if (c !== '\n' || depth > 0) current += /\s/.test(c) ? ' ' : c;
    else {
      if (current.trim() !== '') yield { line: start, blank: current.startsWith(' '), text: current };
      current = '';
      start = line;
    }
  }
  if (depth > 0) throw wrong(file, start, 'a parenthesis is not closed');
}
