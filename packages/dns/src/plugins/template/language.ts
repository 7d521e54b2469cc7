/** A template that cannot be read or carried out, as Go's text/template would say it. */
class TemplateError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'TemplateError';
  }
}

type Value = unknown;
type Scope = { readonly dot: Value; readonly root: Value; readonly variables: Map<string, Value> };

type Term =
  | { readonly kind: 'literal'; readonly value: Value }
  | { readonly kind: 'field'; readonly of: string | undefined; readonly path: readonly string[] }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'group'; readonly pipe: Pipe };
/** A call and its arguments, or one value; the result of each is the last argument of the next. */
type Pipe = readonly (readonly Term[])[];

type Node =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'print'; readonly pipe: Pipe; readonly set: string | undefined }
  | {
      readonly kind: 'if' | 'range' | 'with';
      readonly pipe: Pipe;
      readonly set: string | undefined;
      readonly body: readonly Node[];
      readonly otherwise: readonly Node[];
    };

/** A template, read. Carried out with a value for `.`. */
export type Template = (data: Value) => string;

/**
 * Reads a template in the language of Go's text/template: fields, `index`, pipelines, `if`/`else if`/`else`, `range`, `with`,
 * variables, comments, `{{-` and `-}}`, and the functions below. Templates defined by name are not part of it.
 */
export function readTemplate(text: string): Template {
  const pieces = split(text);
  const cursor = { at: 0 };
  const nodes = block(pieces, cursor, false);
  return (data) => {
    let out = '';
    const scope: Scope = { dot: data, root: data, variables: new Map([['$', data]]) };
    walk(nodes, scope, (part) => (out += part));
    return out;
  };
}

interface Piece {
  readonly action: boolean;
  readonly text: string;
}

function split(text: string): Piece[] {
  const out: Piece[] = [];
  let at = 0;
  let trim = false;
  while (at < text.length) {
    const open = text.indexOf('{{', at);
    let plain = text.slice(at, open < 0 ? text.length : open);
    if (trim) plain = plain.trimStart();
    if (open < 0) {
      out.push({ action: false, text: plain });
      break;
    }
    const close = text.indexOf('}}', open);
    if (close < 0) throw new TemplateError('unclosed action');
    let action = text.slice(open + 2, close);
    if (/^-\s/.test(action)) {
      plain = plain.trimEnd();
      action = action.slice(1);
    }
    trim = /\s-$/.test(action);
    if (trim) action = action.slice(0, -1);
    if (plain !== '') out.push({ action: false, text: plain });
    action = action.trim();
    if (!(action.startsWith('/*') && action.endsWith('*/'))) out.push({ action: true, text: action });
    at = close + 2;
  }
  return out;
}

function block(pieces: readonly Piece[], cursor: { at: number }, inside: boolean): Node[] {
  const nodes: Node[] = [];
  while (cursor.at < pieces.length) {
    const { action, text } = pieces[cursor.at] as Piece;
    if (!action) {
      nodes.push({ kind: 'text', text });
      cursor.at += 1;
      continue;
    }
    if (text === 'end' || text === 'else' || text.startsWith('else ')) {
      if (!inside) throw new TemplateError(`unexpected {{${text}}}`);
      return nodes;
    }
    cursor.at += 1;
    const control = /^(if|range|with)\s+(.*)$/s.exec(text);
    if (control === null) nodes.push({ kind: 'print', ...assigned(text) });
    else nodes.push(controlNode(control[1] as 'if', control[2] as string, pieces, cursor));
  }
  if (inside) throw new TemplateError('unexpected EOF: {{end}} is missing');
  return nodes;
}

function controlNode(
  kind: 'if' | 'range' | 'with',
  head: string,
  pieces: readonly Piece[],
  cursor: { at: number },
): Node {
  const body = block(pieces, cursor, true);
  const stop = (pieces[cursor.at] as Piece).text;
  cursor.at += 1;
  let otherwise: Node[] = [];
  const again = /^else\s+(if|with)\s+(.*)$/s.exec(stop);
  if (again !== null) otherwise = [controlNode(again[1] as 'if', again[2] as string, pieces, cursor)];
  else if (stop === 'else') {
    otherwise = block(pieces, cursor, true);
    if ((pieces[cursor.at] as Piece).text !== 'end') throw new TemplateError('expected {{end}} after {{else}}');
    cursor.at += 1;
  }
  return { kind, ...assigned(head), body, otherwise };
}

function assigned(text: string): { pipe: Pipe; set: string | undefined } {
  const match = /^(\$[A-Za-z_]\w*)\s*:?=\s*(.*)$/s.exec(text);
  return match === null
    ? { pipe: pipeOf(text), set: undefined }
    : { pipe: pipeOf(match[2] as string), set: match[1] as string };
}

function pipeOf(text: string): Pipe {
  const tokens = [
    ...text.matchAll(
      /"(?:[^"\\]|\\.)*"|`[^`]*`|\$?[A-Za-z_]\w*(?:\.\w+)*|\$(?:\.\w+)+|\$|(?:\.\w+)+|\.|-?\d+(?:\.\d+)?|[()|]|\S/g,
    ),
  ].map((m) => m[0]);
  const cursor = { at: 0 };
  const pipe = readPipe(tokens, cursor);
  if (cursor.at < tokens.length) throw new TemplateError(`unexpected ${JSON.stringify(tokens[cursor.at])} in action`);
  return pipe;
}

function readPipe(tokens: readonly string[], cursor: { at: number }): Pipe {
  const commands: Term[][] = [[]];
  for (; cursor.at < tokens.length; cursor.at++) {
    const token = tokens[cursor.at] as string;
    if (token === ')') break;
    if (token === '|') {
      commands.push([]);
      continue;
    }
    if (token === '(') {
      cursor.at += 1;
      const inner = readPipe(tokens, cursor);
      if (tokens[cursor.at] !== ')') throw new TemplateError('unclosed left paren');
      commands.at(-1)?.push({ kind: 'group', pipe: inner });
      continue;
    }
    commands.at(-1)?.push(termOf(token));
  }
  if (commands.some((command) => command.length === 0)) throw new TemplateError('missing value for command');
  return commands;
}

function termOf(token: string): Term {
  if (token.startsWith('"')) return { kind: 'literal', value: JSON.parse(token) };
  if (token.startsWith('`')) return { kind: 'literal', value: token.slice(1, -1) };
  if (/^-?\d/.test(token)) return { kind: 'literal', value: Number(token) };
  if (token === 'true' || token === 'false') return { kind: 'literal', value: token === 'true' };
  if (token === 'nil') return { kind: 'literal', value: undefined };
  if (token === '.') return { kind: 'field', of: undefined, path: [] };
  if (token.startsWith('.')) return { kind: 'field', of: undefined, path: token.slice(1).split('.') };
  if (token.startsWith('$')) {
    const [of = '$', ...path] = token.split('.');
    return { kind: 'field', of, path };
  }
  if (FUNCTIONS[token] === undefined) throw new TemplateError(`function "${token}" not defined`);
  return { kind: 'function', name: token };
}

function walk(nodes: readonly Node[], scope: Scope, write: (text: string) => void): void {
  for (const node of nodes) {
    if (node.kind === 'text') {
      write(node.text);
      continue;
    }
    const value = run(node.pipe, scope);
    if (node.set !== undefined) scope.variables.set(node.set, value);
    if (node.kind === 'print') {
      if (node.set === undefined) write(text(value));
    } else if (node.kind === 'range') {
      const items = value instanceof Map ? [...value.values()] : Array.isArray(value) ? (value as Value[]) : [];
      for (const item of items) walk(node.body, { ...scope, dot: item, variables: new Map(scope.variables) }, write);
      if (items.length === 0) walk(node.otherwise, scope, write);
    } else if (truth(value)) {
      walk(
        node.body,
        { ...scope, dot: node.kind === 'with' ? value : scope.dot, variables: new Map(scope.variables) },
        write,
      );
    } else walk(node.otherwise, scope, write);
  }
}

function run(pipe: Pipe, scope: Scope): Value {
  let result: Value;
  pipe.forEach((command, i) => {
    const [head, ...rest] = command as [Term, ...Term[]];
    const values = rest.map((term) => valueOf(term, scope));
    if (i > 0) values.push(result);
    if (head.kind === 'function') result = (FUNCTIONS[head.name] as (...args: Value[]) => Value)(...values);
    else {
      const value = valueOf(head, scope);
      // A method with arguments, as `.Meta "key"`.
      if (typeof value === 'function') result = (value as (...args: Value[]) => Value)(...values);
      else if (values.length > 0) throw new TemplateError("can't give argument to non-function");
      else result = value;
    }
  });
  return result;
}

function valueOf(term: Term, scope: Scope): Value {
  switch (term.kind) {
    case 'literal':
      return term.value;
    case 'group':
      return run(term.pipe, scope);
    case 'function':
      return (FUNCTIONS[term.name] as () => Value)();
    case 'field': {
      let value = term.of === undefined ? scope.dot : scope.variables.get(term.of);
      if (term.of !== undefined && !scope.variables.has(term.of))
        throw new TemplateError(`undefined variable "${term.of}"`);
      for (const name of term.path) value = member(value, name);
      return value;
    }
  }
}

function member(value: Value, name: string): Value {
  if (value instanceof Map) return value.get(name) ?? '';
  if (typeof value === 'object' && value !== null && Object.hasOwn(value, name))
    return (value as Record<string, Value>)[name];
  throw new TemplateError(`can't evaluate field ${name}`);
}

function truth(value: Value): boolean {
  if (Array.isArray(value)) return value.length > 0;
  if (value instanceof Map) return value.size > 0;
  return value !== undefined && value !== null && value !== '' && value !== 0 && value !== false;
}

function text(value: Value): string {
  if (value === undefined || value === null) return '<no value>';
  if (Array.isArray(value)) return `[${value.map(text).join(' ')}]`;
  return typeof value === 'object' ? JSON.stringify(value) : String(value as string | number | boolean);
}

function index(value: Value, ...keys: Value[]): Value {
  let at = value;
  for (const key of keys) {
    if (at instanceof Map) at = at.get(key) ?? '';
    else if (Array.isArray(at) && typeof key === 'number' && key >= 0 && key < at.length) at = at[key];
    else throw new TemplateError(`error calling index: index out of range: ${text(key)}`);
  }
  return at;
}

function printf(format: Value, ...args: Value[]): string {
  let at = 0;
  return text(format).replace(/%([-+0 #]*)(\d*)([svdxXqt%])/g, (_, flags: string, width: string, verb: string) => {
    if (verb === '%') return '%';
    const value = args[at++];
    let out = text(value);
    if (verb === 'x' || verb === 'X') {
      out =
        typeof value === 'number' || typeof value === 'bigint'
          ? value.toString(16)
          : Buffer.from(out, 'utf8').toString('hex');
      if (verb === 'X') out = out.toUpperCase();
    } else if (verb === 'q') out = JSON.stringify(out);
    if (flags.includes('-')) return out.padEnd(Number(width));
    return out.padStart(Number(width), flags.includes('0') ? '0' : ' ');
  });
}

const compare = (a: Value, b: Value): number =>
  typeof a === 'number' && typeof b === 'number' ? a - b : text(a) < text(b) ? -1 : text(a) > text(b) ? 1 : 0;

const FUNCTIONS: Readonly<Record<string, (...args: Value[]) => Value>> = {
  index,
  printf,
  print: (...args) => args.map(text).join(''),
  println: (...args) => `${args.map(text).join(' ')}\n`,
  len: (value) => (value instanceof Map ? value.size : Array.isArray(value) ? value.length : text(value).length),
  slice: (value, from, to) =>
    Array.isArray(value)
      ? value.slice(Number(from ?? 0), to === undefined ? undefined : Number(to))
      : text(value).slice(Number(from ?? 0), to === undefined ? undefined : Number(to)),
  not: (value) => !truth(value),
  and: (...args) => args.find((value) => !truth(value)) ?? args.at(-1),
  or: (...args) => args.find(truth) ?? args.at(-1),
  eq: (a, ...others) => others.some((b) => compare(a, b) === 0),
  ne: (a, b) => compare(a, b) !== 0,
  lt: (a, b) => compare(a, b) < 0,
  le: (a, b) => compare(a, b) <= 0,
  gt: (a, b) => compare(a, b) > 0,
  ge: (a, b) => compare(a, b) >= 0,
  // CoreDNS's own: strconv.ParseUint.
  parseInt: (value, base, bits) => {
    const found = Number.parseInt(text(value), Number(base ?? 10));
    if (Number.isNaN(found) || found < 0 || found >= 2 ** Number(bits ?? 64))
      throw new TemplateError(`strconv.ParseUint: parsing ${JSON.stringify(text(value))}: invalid syntax`);
    return found;
  },
};
