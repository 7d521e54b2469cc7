import { ExpressionError } from './error.ts';

interface Builtin {
  readonly args: readonly [min: number, max: number];
  call(...args: unknown[]): unknown;
}

/** A text, or an error that names what is not one. */
function text(value: unknown): string {
  if (typeof value !== 'string') throw new ExpressionError(`not a text: ${JSON.stringify(value)}`);
  return value;
}

function number(value: unknown): number {
  if (typeof value !== 'number') throw new ExpressionError(`not a number: ${JSON.stringify(value)}`);
  return value;
}

function list(value: unknown): readonly unknown[] {
  if (!Array.isArray(value)) throw new ExpressionError(`not an array: ${JSON.stringify(value)}`);
  return value;
}

const texts = (args: readonly [number, number], call: (...args: string[]) => unknown): Builtin => ({
  args,
  call: (...values) => call(...values.map(text)),
});
const numbers = (call: (value: number) => number): Builtin => ({ args: [1, 1], call: (value) => call(number(value)) });

function toInt(value: unknown): number {
  if (typeof value === 'number') return Math.trunc(value);
  if (typeof value === 'string' && /^[+-]?[0-9]+$/.test(value)) return Number(value);
  throw new ExpressionError(`invalid operation: int(${JSON.stringify(value)})`);
}

/** Characters of a `cutset`, as Go's strings.Trim takes them. */
function trimmed(value: string, cutset: string, left: boolean, right: boolean): string {
  let from = 0;
  let to = value.length;
  while (left && from < to && cutset.includes(value[from] as string)) from += 1;
  while (right && to > from && cutset.includes(value[to - 1] as string)) to -= 1;
  return value.slice(from, to);
}

const BLANKS = ' \t\n\r\v\f';

/** Functions of the language that take plain values. Longer texts than these come from no query. */
export const BUILTINS: ReadonlyMap<string, Builtin> = new Map<string, Builtin>([
  [
    'len',
    {
      args: [1, 1],
      call: (value) => (typeof value === 'string' ? value.length : list(value).length),
    },
  ],
  ['upper', texts([1, 1], (value = '') => value.toUpperCase())],
  ['lower', texts([1, 1], (value = '') => value.toLowerCase())],
  ['trim', texts([1, 2], (value = '', set = BLANKS) => trimmed(value, set, true, true))],
  ['trimPrefix', texts([2, 2], (value = '', part = '') => (value.startsWith(part) ? value.slice(part.length) : value))],
  [
    'trimSuffix',
    texts([2, 2], (value = '', part = '') =>
      part !== '' && value.endsWith(part) ? value.slice(0, -part.length) : value,
    ),
  ],
  ['split', texts([2, 2], (value = '', by = '') => value.split(by))],
  ['replace', texts([3, 3], (value = '', from = '', to = '') => value.replaceAll(from, () => to))],
  ['hasPrefix', texts([2, 2], (value = '', part = '') => value.startsWith(part))],
  ['hasSuffix', texts([2, 2], (value = '', part = '') => value.endsWith(part))],
  ['indexOf', texts([2, 2], (value = '', part = '') => value.indexOf(part))],
  ['lastIndexOf', texts([2, 2], (value = '', part = '') => value.lastIndexOf(part))],
  ['join', { args: [1, 2], call: (value, by = '') => list(value).map(text).join(text(by)) }],
  ['int', { args: [1, 1], call: toInt }],
  ['float', { args: [1, 1], call: (value) => (typeof value === 'string' ? Number(value) : number(value)) }],
  ['string', { args: [1, 1], call: (value) => (typeof value === 'string' ? value : JSON.stringify(value)) }],
  ['abs', numbers(Math.abs)],
  ['ceil', numbers(Math.ceil)],
  ['floor', numbers(Math.floor)],
  ['round', numbers(Math.round)],
  ['max', { args: [1, 20], call: (...values) => Math.max(...values.map(number)) }],
  ['min', { args: [1, 20], call: (...values) => Math.min(...values.map(number)) }],
  ['first', { args: [1, 1], call: (value) => list(value)[0] }],
  ['last', { args: [1, 1], call: (value) => list(value).at(-1) }],
  ['reverse', { args: [1, 1], call: (value) => [...list(value)].reverse() }],
]);

/** Functions whose second argument is asked for every element, with the number of their arguments. */
export const PREDICATES: ReadonlyMap<string, readonly [number, number]> = new Map([
  ['all', [2, 2]],
  ['any', [2, 2]],
  ['none', [2, 2]],
  ['one', [2, 2]],
  ['filter', [2, 2]],
  ['map', [2, 2]],
  ['count', [1, 2]],
  ['find', [2, 2]],
]);

/** Carries out one of `PREDICATES`. */
export function callPredicate(name: string, value: unknown, ask: (element: unknown) => unknown): unknown {
  const items = list(value);
  const yes = (element: unknown): boolean => {
    const answer = ask(element);
    if (typeof answer !== 'boolean') throw new ExpressionError(`the predicate of ${name} is neither true nor false`);
    return answer;
  };
  switch (name) {
    case 'all':
      return items.every(yes);
    case 'any':
      return items.some(yes);
    case 'none':
      return !items.some(yes);
    case 'one':
      return items.filter(yes).length === 1;
    case 'filter':
      return items.filter(yes);
    case 'find':
      return items.find(yes);
    case 'count':
      return items.filter(yes).length;
    default:
      return items.map(ask);
  }
}
