import { BUILTINS, callPredicate, PREDICATES } from './builtins.ts';
import { ExpressionError } from './error.ts';
import { parseExpression, pattern, type Tree } from './parse.ts';

/** A function that expressions may call. */
export interface ExpressionFunction {
  readonly args: readonly [min: number, max: number];
  call(...args: unknown[]): unknown;
}

/** A function or a value that has a name. */
export type Entry = ExpressionFunction | { readonly value: unknown };

/** What expressions may name. */
export type Environment = ReadonlyMap<string, Entry>;

/** An expression, ready to be carried out. @throws ExpressionError when values do not fit the operators. */
export type Expression = (environment: Environment) => unknown;

/** Reads an expression. `names` is an environment of the same names as those it is carried out with. @throws ExpressionError. */
export function compileExpression(text: string, names: Environment): Expression {
  const known = new Map([...names].map(([name, entry]) => [name, 'args' in entry ? entry.args : undefined]));
  const tree = parseExpression(text, known);
  return (environment) => evaluate(tree, { environment, variables: new Map(), element: undefined });
}

interface Scope {
  readonly environment: Environment;
  readonly variables: ReadonlyMap<string, unknown>;
  readonly element: unknown;
}

/** Longest list that a range makes. */
const MAX_RANGE = 100_000;

function evaluate(tree: Tree, scope: Scope): unknown {
  switch (tree.kind) {
    case 'value':
      return tree.value;
    case 'element':
      return scope.element;
    case 'name': {
      if (scope.variables.has(tree.name)) return scope.variables.get(tree.name);
      const entry = scope.environment.get(tree.name);
      return entry !== undefined && 'value' in entry ? entry.value : undefined;
    }
    case 'list':
      return tree.items.map((item) => evaluate(item, scope));
    case 'map':
      return new Map(tree.entries.map(([key, value]) => [evaluate(key, scope), evaluate(value, scope)]));
    case 'call':
      return call(tree, scope);
    case 'index':
      return member(evaluate(tree.of, scope), evaluate(tree.key, scope), tree.optional);
    case 'slice': {
      const of = evaluate(tree.of, scope);
      if (typeof of !== 'string' && !Array.isArray(of)) throw new ExpressionError('only texts and arrays have slices');
      const bound = (side: Tree | undefined): number | undefined =>
        side === undefined ? undefined : (evaluate(side, scope) as number);
      return of.slice(bound(tree.from), bound(tree.to));
    }
    case 'unary':
      return unary(tree.operator, evaluate(tree.of, scope));
    case 'binary':
      return binary(tree.operator, tree.left, tree.right, scope);
    case 'if':
      return truth(evaluate(tree.test, scope), '?') ? evaluate(tree.yes, scope) : evaluate(tree.no, scope);
    case 'let': {
      const value = evaluate(tree.value, scope);
      return evaluate(tree.body, { ...scope, variables: new Map(scope.variables).set(tree.name, value) });
    }
  }
}

function call({ name, args }: Extract<Tree, { kind: 'call' }>, scope: Scope): unknown {
  const own = scope.environment.get(name);
  if (own !== undefined && 'call' in own) return own.call(...args.map((arg) => evaluate(arg, scope)));
  const predicate = args[1];
  const [first] = args;
  if (PREDICATES.has(name) && first !== undefined) {
    return callPredicate(name, evaluate(first, scope), (element) =>
      predicate === undefined ? element : evaluate(predicate, { ...scope, element }),
    );
  }
  return BUILTINS.get(name)?.call(...args.map((arg) => evaluate(arg, scope)));
}

function member(of: unknown, key: unknown, optional: boolean): unknown {
  if (of === undefined) {
    if (optional) return undefined;
    throw new ExpressionError(`cannot fetch ${JSON.stringify(key)} from nil`);
  }
  if (of instanceof Map) return of.get(key);
  if ((typeof of === 'string' || Array.isArray(of)) && typeof key === 'number') {
    const at = key < 0 ? of.length + key : key;
    if (!Number.isInteger(at) || at < 0 || at >= of.length) throw new ExpressionError(`index out of range: ${key}`);
    return of[at];
  }
  throw new ExpressionError(`cannot fetch ${JSON.stringify(key)}`);
}

function truth(value: unknown, operator: string): boolean {
  if (typeof value !== 'boolean') throw mismatch(operator, value);
  return value;
}

function unary(operator: string, value: unknown): unknown {
  if (operator === '!') return !truth(value, 'not');
  if (typeof value !== 'number') throw mismatch(operator, value);
  return operator === '-' ? -value : value;
}

function mismatch(operator: string, ...values: unknown[]): ExpressionError {
  return new ExpressionError(
    `invalid operation: ${operator} (mismatched types ${values.map((v) => typeof v).join(' and ')})`,
  );
}

function equal(a: unknown, b: unknown): boolean {
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((item, i) => equal(item, b[i]));
  return a === b;
}

function binary(operator: string, leftTree: Tree, rightTree: Tree, scope: Scope): unknown {
  const left = evaluate(leftTree, scope);
  // These may leave their right side alone.
  if (operator === '&&') return truth(left, 'and') && truth(evaluate(rightTree, scope), 'and');
  if (operator === '||') return truth(left, 'or') || truth(evaluate(rightTree, scope), 'or');
  if (operator === '??') return left ?? evaluate(rightTree, scope);
  const right = evaluate(rightTree, scope);
  switch (operator) {
    case '==':
      return equal(left, right);
    case '!=':
      return !equal(left, right);
    case 'in':
      if (Array.isArray(right)) return right.some((item) => equal(item, left));
      if (right instanceof Map) return right.has(left);
      throw mismatch('in', left, right);
    case '..':
      return range(left, right);
    default:
  }
  if (typeof left === 'string' && typeof right === 'string') return texts(operator, left, right);
  if (typeof left === 'number' && typeof right === 'number') return numbers(operator, left, right);
  throw mismatch(operator, left, right);
}

function range(from: unknown, to: unknown): number[] {
  if (typeof from !== 'number' || typeof to !== 'number') throw mismatch('..', from, to);
  const length = Math.max(0, Math.floor(to - from) + 1);
  if (length > MAX_RANGE) throw new ExpressionError('the range is too long');
  return Array.from({ length }, (_, i) => from + i);
}

function texts(operator: string, left: string, right: string): unknown {
  switch (operator) {
    case 'matches':
      return pattern(right).test(left);
    case 'contains':
      return left.includes(right);
    case 'startsWith':
      return left.startsWith(right);
    case 'endsWith':
      return left.endsWith(right);
    case '+':
      return left + right;
    default:
      return compare(operator, left, right);
  }
}

function numbers(operator: string, left: number, right: number): unknown {
  switch (operator) {
    case '+':
      return left + right;
    case '-':
      return left - right;
    case '*':
      return left * right;
    case '/':
      return left / right;
    case '%':
      if (right === 0) throw new ExpressionError('integer divide by zero');
      return left % right;
    case '**':
      return left ** right;
    default:
      return compare(operator, left, right);
  }
}

function compare<T extends string | number>(operator: string, left: T, right: T): boolean {
  switch (operator) {
    case '<':
      return left < right;
    case '>':
      return left > right;
    case '<=':
      return left <= right;
    case '>=':
      return left >= right;
    default:
      throw mismatch(operator, left, right);
  }
}
