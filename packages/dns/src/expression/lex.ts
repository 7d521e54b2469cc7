import { ExpressionError } from './error.ts';

/** A word of an expression. */
export interface Word {
  readonly kind: 'number' | 'string' | 'name' | 'operator' | 'end';
  readonly text: string;
  readonly value?: number | string;
  /** Where it starts, from 0. */
  readonly at: number;
}

const WORD =
  /\s+|\/\/[^\n]*|\/\*[\s\S]*?\*\/|(?<number>0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+|(?:[0-9][0-9_]*)?(?:\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?|[0-9][0-9_]*(?:[eE][+-]?[0-9]+)?)|(?<string>"(?:[^"\\\n]|\\[\s\S])*"|'(?:[^'\\\n]|\\[\s\S])*'|`[^`]*`)|(?<name>[A-Za-z_$][\w$]*)|(?<operator>\?\.|\?\?|\*\*|\.\.|==|!=|<=|>=|&&|\|\||[-+*/%^<>!?:.,()[\]{}#|;=])/gy;

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
};

/** Splits an expression of the expr language into words. @throws ExpressionError. */
export function words(text: string): Word[] {
  const out: Word[] = [];
  WORD.lastIndex = 0;
  let at = 0;
  while (at < text.length) {
    WORD.lastIndex = at;
    const match = WORD.exec(text);
    if (match === null) throw new ExpressionError(`unrecognized character: ${JSON.stringify(text[at])} (1:${at + 1})`);
    const { number, string, name, operator } = match.groups ?? {};
    if (number !== undefined) out.push({ kind: 'number', text: number, value: Number(number.replaceAll('_', '')), at });
    else if (string !== undefined) out.push({ kind: 'string', text: string, value: unquoted(string), at });
    else if (name !== undefined) out.push({ kind: 'name', text: name, at });
    else if (operator !== undefined) out.push({ kind: 'operator', text: operator, at });
    at = WORD.lastIndex;
  }
  out.push({ kind: 'end', text: 'end of expression', at });
  return out;
}

function unquoted(quoted: string): string {
  const body = quoted.slice(1, -1);
  if (quoted.startsWith('`')) return body;
  return body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|([0-7]{3})|([\s\S]))/g,
    (_, hex?: string, unicode?: string, octal?: string, letter?: string) => {
      const code = hex ?? unicode;
      if (code !== undefined) return String.fromCharCode(Number.parseInt(code, 16));
      if (octal !== undefined) return String.fromCharCode(Number.parseInt(octal, 8));
      return ESCAPES[letter as string] ?? (letter as string);
    },
  );
}
