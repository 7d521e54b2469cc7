import { BUILTINS, PREDICATES } from './builtins.ts';
import { ExpressionError } from './error.ts';
import { type Word, words } from './lex.ts';

/** An expression, read. */
export type Tree =
  | { readonly kind: 'value'; readonly value: unknown }
  | { readonly kind: 'name'; readonly name: string }
  | { readonly kind: 'element' }
  | { readonly kind: 'list'; readonly items: readonly Tree[] }
  | { readonly kind: 'map'; readonly entries: readonly (readonly [Tree, Tree])[] }
  | { readonly kind: 'call'; readonly name: string; readonly args: readonly Tree[] }
  | { readonly kind: 'index'; readonly of: Tree; readonly key: Tree; readonly optional: boolean }
  | { readonly kind: 'slice'; readonly of: Tree; readonly from: Tree | undefined; readonly to: Tree | undefined }
  | { readonly kind: 'unary'; readonly operator: string; readonly of: Tree }
  | { readonly kind: 'binary'; readonly operator: string; readonly left: Tree; readonly right: Tree }
  | { readonly kind: 'if'; readonly test: Tree; readonly yes: Tree; readonly no: Tree }
  | { readonly kind: 'let'; readonly name: string; readonly value: Tree; readonly body: Tree };

/** Binding power of the operators between two values, from the language definition of expr. */
const POWER: Readonly<Record<string, number>> = {
  '|': 0,
  '||': 10,
  or: 10,
  '&&': 15,
  and: 15,
  '==': 20,
  '!=': 20,
  '<': 20,
  '>': 20,
  '<=': 20,
  '>=': 20,
  in: 20,
  matches: 20,
  contains: 20,
  startsWith: 20,
  endsWith: 20,
  '..': 25,
  '+': 30,
  '-': 30,
  '*': 60,
  '/': 60,
  '%': 60,
  '**': 100,
  '^': 100,
  '??': 500,
};
const CAN_BE_NOT = new Set(['in', 'matches', 'contains', 'startsWith', 'endsWith']);
const SAME: Readonly<Record<string, string>> = { or: '||', and: '&&', '^': '**' };
const UNARY: Readonly<Record<string, number>> = { not: 50, '!': 50, '-': 90, '+': 90 };
/** Deeper than anybody writes, and far from the end of the stack. */
const MAX_DEPTH = 200;

/** Names that mean something to the language itself. */
const KEYWORDS = new Set([
  ...Object.keys(POWER).filter((word) => /^[a-z]/i.test(word)),
  'not',
  'true',
  'false',
  'nil',
  'let',
  'if',
  'else',
]);

/** Does the name mean something to the language or its library? */
export function isReserved(name: string): boolean {
  return KEYWORDS.has(name) || BUILTINS.has(name) || PREDICATES.has(name);
}

/**
 * Reads an expression of the expr language (the parts that its definition calls literals, operators, predicates, variables
 * and pipes). `known` are the names that exist: functions with the numbers of arguments they take, others with undefined.
 * @throws ExpressionError.
 */
export function parseExpression(
  text: string,
  known: ReadonlyMap<string, readonly [min: number, max: number] | undefined>,
): Tree {
  const parser = new Parser(words(text), known);
  const tree = parser.expression(0);
  parser.end();
  return tree;
}

class Parser {
  readonly #words: readonly Word[];
  readonly #known: ReadonlyMap<string, readonly [min: number, max: number] | undefined>;
  readonly #variables: string[] = [];
  #at = 0;
  #depth = 0;
  /** How many predicates surround the place: `#` means something only in one. */
  #predicates = 0;

  constructor(list: readonly Word[], known: ReadonlyMap<string, readonly [min: number, max: number] | undefined>) {
    this.#words = list;
    this.#known = known;
  }

  end(): void {
    if (this.#word.kind !== 'end') this.#unexpected();
  }

  get #word(): Word {
    return this.#words[this.#at] as Word;
  }

  #unexpected(): never {
    const { text, at } = this.#word;
    throw new ExpressionError(`unexpected token ${JSON.stringify(text)} (1:${at + 1})`);
  }

  #is(text: string): boolean {
    return this.#word.text === text && this.#word.kind !== 'string';
  }

  #take(text: string): boolean {
    if (!this.#is(text)) return false;
    this.#at += 1;
    return true;
  }

  #expect(text: string): void {
    if (!this.#take(text)) this.#unexpected();
  }

  expression(power: number): Tree {
    this.#depth += 1;
    if (this.#depth > MAX_DEPTH) throw new ExpressionError('expression is nested too deeply');
    if (power === 0 && this.#take('let')) {
      const tree = this.#let();
      this.#depth -= 1;
      return tree;
    }
    let left = this.#unary();
    for (;;) {
      const start = this.#at;
      const negated = this.#take('not');
      const operator = this.#word.kind === 'string' ? '' : this.#word.text;
      const own = POWER[operator];
      if (own === undefined || own < power || (negated && !CAN_BE_NOT.has(operator))) {
        this.#at = start;
        break;
      }
      this.#at += 1;
      left = this.#binary(left, operator, own);
      if (negated) left = { kind: 'unary', operator: '!', of: left };
    }
    if (power === 0 && this.#take('?')) {
      // `a ?: b` is `a ? a : b`.
      const yes = this.#is(':') ? left : this.expression(0);
      this.#expect(':');
      left = { kind: 'if', test: left, yes, no: this.expression(0) };
    }
    this.#depth -= 1;
    return left;
  }

  #let(): Tree {
    const { kind, text: name } = this.#word;
    if (kind !== 'name' || KEYWORDS.has(name)) this.#unexpected();
    if (this.#known.has(name) || BUILTINS.has(name)) throw new ExpressionError(`cannot redeclare ${name}`);
    this.#at += 1;
    this.#expect('=');
    const value = this.expression(0);
    this.#expect(';');
    this.#variables.push(name);
    const body = this.expression(0);
    this.#variables.pop();
    return { kind: 'let', name, value, body };
  }

  #binary(left: Tree, operator: string, own: number): Tree {
    if (operator === '|') {
      const { kind, text } = this.#word;
      if (kind !== 'name') this.#unexpected();
      this.#at += 1;
      this.#expect('(');
      return this.#postfix(this.#call(text, [left]));
    }
    // Powers bind to the right: 2 ** 3 ** 2 is 2 ** 9.
    const right = this.expression(operator === '**' || operator === '^' ? own : own + 1);
    if (operator === 'matches' && right.kind === 'value') pattern(right.value);
    return { kind: 'binary', operator: SAME[operator] ?? operator, left, right };
  }

  #unary(): Tree {
    const { kind, text } = this.#word;
    const power = kind === 'string' ? undefined : UNARY[text];
    if (power === undefined) return this.#postfix(this.#primary());
    this.#at += 1;
    return { kind: 'unary', operator: text === 'not' ? '!' : text, of: this.expression(power) };
  }

  #primary(): Tree {
    const word = this.#word;
    this.#at += 1;
    if (word.kind === 'number' || word.kind === 'string') return { kind: 'value', value: word.value };
    if (word.kind === 'name') return this.#named(word);
    if (word.text === '(') {
      const inner = this.expression(0);
      this.#expect(')');
      return inner;
    }
    if (word.text === '[') return { kind: 'list', items: this.#list(']') };
    if (word.text === '{') return this.#map();
    if (this.#predicates > 0 && word.text === '#') return { kind: 'element' };
    if (this.#predicates > 0 && word.text === '.') {
      this.#at -= 1;
      return { kind: 'element' };
    }
    this.#at -= 1;
    return this.#unexpected();
  }

  #named({ text, at }: Word): Tree {
    if (text === 'true' || text === 'false') return { kind: 'value', value: text === 'true' };
    if (text === 'nil') return { kind: 'value', value: undefined };
    if (KEYWORDS.has(text)) {
      this.#at -= 1;
      this.#unexpected();
    }
    if (this.#take('(')) return this.#call(text, []);
    if (!this.#variables.includes(text) && (!this.#known.has(text) || this.#known.get(text) !== undefined))
      throw new ExpressionError(`unknown name ${text} (1:${at + 1})`);
    return { kind: 'name', name: text };
  }

  /** The arguments of a call, of which the first may be there already. */
  #call(name: string, first: readonly Tree[]): Tree {
    const predicate = PREDICATES.has(name);
    if (predicate) this.#predicates += 1;
    const args = [...first, ...this.#list(')', predicate)];
    if (predicate) this.#predicates -= 1;
    const range = this.#known.get(name) ?? BUILTINS.get(name)?.args ?? PREDICATES.get(name);
    if (range === undefined) throw new ExpressionError(`unknown name ${name}`);
    if (args.length < range[0] || args.length > range[1])
      throw new ExpressionError(`wrong number of arguments to call ${name}: ${args.length}`);
    return { kind: 'call', name, args };
  }

  #list(close: string, predicate = false): Tree[] {
    const out: Tree[] = [];
    while (!this.#take(close)) {
      // A predicate may stand in braces.
      const braced = predicate && out.length > 0 && this.#take('{');
      out.push(this.expression(0));
      if (braced) this.#expect('}');
      if (this.#take(close)) break;
      this.#expect(',');
    }
    return out;
  }

  #map(): Tree {
    const entries: (readonly [Tree, Tree])[] = [];
    while (!this.#take('}')) {
      const word = this.#word;
      let key: Tree;
      if (this.#take('(')) {
        key = this.expression(0);
        this.#expect(')');
      } else {
        if (word.kind === 'operator' || word.kind === 'end') this.#unexpected();
        this.#at += 1;
        key = { kind: 'value', value: String(word.value ?? word.text) };
      }
      this.#expect(':');
      entries.push([key, this.expression(0)]);
      if (this.#take('}')) break;
      this.#expect(',');
    }
    return { kind: 'map', entries };
  }

  #postfix(start: Tree): Tree {
    let tree = start;
    for (;;) {
      const optional = this.#is('?.');
      if (optional || this.#is('.')) {
        this.#at += 1;
        if (optional && this.#take('[')) {
          tree = this.#bracket(tree, true);
          continue;
        }
        const { kind, text } = this.#word;
        if (kind !== 'name') this.#unexpected();
        this.#at += 1;
        tree = { kind: 'index', of: tree, key: { kind: 'value', value: text }, optional };
      } else if (this.#take('[')) tree = this.#bracket(tree, false);
      else return tree;
    }
  }

  #bracket(of: Tree, optional: boolean): Tree {
    if (this.#take(':')) return this.#slice(of, undefined);
    const key = this.expression(0);
    if (this.#take(':')) return this.#slice(of, key);
    this.#expect(']');
    return { kind: 'index', of, key, optional };
  }

  #slice(of: Tree, from: Tree | undefined): Tree {
    const to = this.#is(']') ? undefined : this.expression(0);
    this.#expect(']');
    return { kind: 'slice', of, from, to };
  }
}

const patterns = new Map<string, RegExp>();

/** A pattern in Go's syntax, as far as JavaScript has it. @throws ExpressionError. */
export function pattern(text: unknown): RegExp {
  if (typeof text !== 'string') throw new ExpressionError('matches needs a text on its right side');
  let made = patterns.get(text);
  if (made === undefined) {
    try {
      made = goPattern(text);
    } catch (error) {
      throw new ExpressionError(`error parsing regexp: ${(error as Error).message}`);
    }
    // Patterns that are made from queries must not fill the memory.
    if (patterns.size >= 100) patterns.clear();
    patterns.set(text, made);
  }
  return made;
}

/** Go writes named groups with a P, and flags at the start of a pattern. @throws SyntaxError. */
export function goPattern(text: string): RegExp {
  const flags = /^\(\?([ims]+)\)/.exec(text);
  const source = text.slice(flags?.[0].length ?? 0).replaceAll('(?P<', '(?<');
  return new RegExp(source, flags?.[1] ?? '');
}
