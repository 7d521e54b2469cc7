/**
 * The part of JSONPath that printer columns and scale paths use: `.a.b`, `['a']`, `[0]`, `[*]` and
 * `[?(@.type=="Ready")]` (k8s.io/client-go/util/jsonpath).
 */
export type JsonPath = (value: unknown) => unknown[];

type Step = (values: readonly unknown[]) => unknown[];

const STEP =
  /\.?(?:(\*)|([^.[\]*'"?()\\]+(?:\\.[^.[\]\\]*)*))|\[(?:(\*)|(-?\d+)|'([^']*)'|"([^"]*)"|\?\(\s*@((?:\.[\w-]+|\['[^']*'\])+)\s*(==|!=|<=|>=|<|>)\s*("[^"]*"|'[^']*'|[\w.-]+)\s*\))\]/;

const own = (value: unknown, name: string): unknown[] =>
  typeof value === 'object' && value !== null && Object.hasOwn(value, name)
    ? [(value as Record<string, unknown>)[name]]
    : [];

const all: Step = (values) =>
  values.flatMap((v) => (Array.isArray(v) ? v : typeof v === 'object' && v !== null ? Object.values(v) : []));

/** Compiles a path; undefined when it uses what is not supported. */
export function compileJsonPath(text: string): JsonPath | undefined {
  let source = text.trim();
  if (source.startsWith('{') && source.endsWith('}')) source = source.slice(1, -1);
  if (source.startsWith('$')) source = source.slice(1);
  const steps: Step[] = [];
  // Its own position: the path inside a filter is compiled in between.
  const step = new RegExp(STEP.source, 'y');
  while (step.lastIndex < source.length) {
    const match = step.exec(source);
    if (match === null) return undefined;
    steps.push(stepOf(match));
  }
  return (value) => steps.reduce<unknown[]>((values, next) => next(values), [value]);
}

function stepOf(match: RegExpExecArray): Step {
  const [, star, name, anyItem, index, single, double, inner, operator = '', literal = ''] = match;
  if (star !== undefined || anyItem !== undefined) return all;
  if (index !== undefined) {
    return (values) => values.flatMap((v) => (Array.isArray(v) ? v.slice(Number(index)).slice(0, 1) : []));
  }
  if (inner !== undefined) {
    const path = compileJsonPath(inner);
    const wanted = /^["']/.test(literal) ? literal.slice(1, -1) : literal;
    return (values) => all(values).filter((v) => compare(path?.(v)[0], operator, wanted));
  }
  const field = single ?? double ?? (name ?? '').replace(/\\(.)/g, '$1');
  return (values) => values.flatMap((v) => own(v, field));
}

function compare(value: unknown, operator: string, wanted: string): boolean {
  if (value === undefined || value === null || typeof value === 'object') return false;
  const text = String(value as string | number | boolean);
  switch (operator) {
    case '==':
      return text === wanted;
    case '!=':
      return text !== wanted;
    case '<':
      return Number(text) < Number(wanted);
    case '<=':
      return Number(text) <= Number(wanted);
    case '>':
      return Number(text) > Number(wanted);
    default:
      return Number(text) >= Number(wanted);
  }
}
