import { argumentError, parsingError, type Position } from './error.ts';
import type { Line } from './directive.ts';
import { zonesFromArgument } from './zones.ts';

/** How one property of a plugin's block is written, read and documented. The parser, the README check and the lint all come from it. */
export interface Option<T> {
  /** Arguments as the documentation shows them, for example `SECONDS`; empty for a bare word. */
  readonly syntax: string;
  readonly doc: string;
  /** @throws CorefileError when the line's arguments are wrong. */
  readonly parse: (line: Line) => T;
  /** How a second line of the same name combines with the first. Without it the last line wins, as in CoreDNS. */
  join?(before: T, after: T): T;
}

export type OptionSchema = Readonly<Record<string, Option<unknown>>>;

/** What a block says: the value of every option that was given. */
export type OptionValues<S extends OptionSchema> = {
  -readonly [K in keyof S]?: S[K] extends Option<infer T> ? T : never;
};

/** Reads the block of a plugin. @throws CorefileError naming the unknown or malformed property. */
export function parseOptions<S extends OptionSchema>(
  schema: S,
  lines: readonly Line[] | undefined,
  warn: (position: Position, message: string) => void,
): OptionValues<S> {
  const out: Record<string, unknown> = {};
  for (const line of lines ?? []) {
    const name = line.name.text;
    if (!Object.hasOwn(schema, name)) {
      throw parsingError(
        line.name,
        `unknown property '${name}'`,
        `known properties: ${Object.keys(schema).join(', ')}`,
      );
    }
    const option = schema[name] as Option<unknown>;
    const value = option.parse(line);
    if (!Object.hasOwn(out, name)) out[name] = value;
    else if (option.join !== undefined) out[name] = option.join(out[name], value);
    else {
      warn(line.name, `'${name}' is given again: the last one counts`);
      out[name] = value;
    }
  }
  return out as OptionValues<S>;
}

/** Seconds of a Go duration (`5s`, `1m30s`, `500ms`). Undefined when the text is none. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  const negative = text.startsWith('-');
  const body = text.replace(/^[+-]/, '');
  if (!/^(?:[0-9]+(?:\.[0-9]*)?(?:ns|us|µs|ms|s|m|h))+$/.test(body)) return undefined;
  const units: Record<string, number> = { ns: 1e-9, us: 1e-6, µs: 1e-6, ms: 1e-3, s: 1, m: 60, h: 3600 };
  let sum = 0;
  for (const [, amount, unit] of body.matchAll(/([0-9]+(?:\.[0-9]*)?)(ns|us|µs|ms|s|m|h)/g)) {
    sum += Number(amount) * (units[unit as string] as number);
  }
  return negative ? -sum : sum;
}

/** A duration as Go prints it: `1m30s`, `500ms`. */
export function formatDuration(seconds: number): string {
  if (seconds === 0) return '0s';
  if (seconds < 0) return `-${formatDuration(-seconds)}`;
  const nanoseconds = Math.round(seconds * 1e9);
  if (nanoseconds < 1e3) return `${nanoseconds}ns`;
  if (nanoseconds < 1e6) return `${nanoseconds / 1e3}µs`;
  if (nanoseconds < 1e9) return `${nanoseconds / 1e6}ms`;
  const whole = Math.floor(seconds);
  const rest = Number((seconds - Math.floor(seconds / 60) * 60).toFixed(9));
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return `${hours > 0 ? `${hours}h` : ''}${hours + minutes > 0 ? `${minutes}m` : ''}${rest}s`;
}

/** The line's arguments as text; checks their number. */
export function args(line: Line, min: number, max = min): string[] {
  if (line.args.length < min || line.args.length > max) {
    throw argumentError(line.args.at(-1) ?? line.name, line.args.at(-1)?.text ?? line.name.text);
  }
  return line.args.map((token) => token.text);
}

function integer(line: Line, text: string): number {
  if (!/^[+-]?[0-9]+$/.test(text)) throw parsingError(line.name, `strconv.Atoi: parsing "${text}": invalid syntax`);
  return Number(text);
}

/** Readers for the common shapes of properties. */
export const option = {
  /** A bare word. */
  flag: (doc: string): Option<true> => ({
    syntax: '',
    doc,
    parse: (line) => {
      args(line, 0);
      return true;
    },
  }),
  /** An integer between `min` and `max`. */
  integer: (syntax: string, doc: string, range: { min: number; max: number; error?: string }): Option<number> => ({
    syntax,
    doc,
    parse: (line) => {
      const value = integer(line, args(line, 1)[0] as string);
      if (value < range.min || value > range.max) {
        const what = range.error ?? `${line.name.text} must be in range [${range.min}, ${range.max}]`;
        throw parsingError(line.name, `${what}: ${value}`);
      }
      return value;
    },
  }),
  /** A duration in seconds. */
  duration: (syntax: string, doc: string, min = 0): Option<number> => ({
    syntax,
    doc,
    parse: (line) => {
      const text = args(line, 1)[0] as string;
      const value = parseDuration(text);
      if (value === undefined) throw parsingError(line.name, `time: invalid duration "${text}"`);
      if (value < min) throw parsingError(line.name, `${line.name.text} must not be less than ${min}s: ${text}`);
      return value;
    },
  }),
  choice: <const C extends readonly string[]>(
    choices: C,
    doc: string,
    error: (value: string) => string,
  ): Option<C[number]> => ({
    syntax: choices.join('|'),
    doc,
    parse: (line) => {
      const value = args(line, 1)[0] as string;
      if (!choices.includes(value)) throw parsingError(line.name, error(value));
      return value;
    },
  }),
  text: (syntax: string, doc: string): Option<string> => ({ syntax, doc, parse: (line) => args(line, 1)[0] as string }),
  words: (syntax: string, doc: string, min = 1, max = Number.POSITIVE_INFINITY): Option<string[]> => ({
    syntax,
    doc,
    parse: (line) => args(line, min, max),
  }),
  /** Zones; without arguments the list is empty, which the plugins read as "all". */
  zones: (syntax: string, doc: string): Option<string[]> => ({
    syntax,
    doc,
    parse: (line) => line.args.flatMap((token) => zonesFromArgument(token)),
  }),
};
