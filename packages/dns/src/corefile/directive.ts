import { argumentError, parsingError } from './error.ts';
import { startsLine, type Token } from './lexer.ts';

/** A line of a plugin's block: its first word, the others, and the block that it opens. */
export interface Line {
  readonly name: Token;
  readonly args: readonly Token[];
  readonly block: readonly Line[] | undefined;
}

/** One use of a plugin in a server block. */
export type Directive = Line;

/** Groups the words of a plugin into its uses: one when it stands once in the block. */
export function directivesOf(words: readonly Token[]): Directive[] {
  const cursor = { at: 0 };
  const out: Directive[] = [];
  while (cursor.at < words.length) out.push(readLine(words, cursor));
  return out;
}

function readLine(words: readonly Token[], cursor: { at: number }): Line {
  const name = words[cursor.at] as Token;
  const args: Token[] = [];
  cursor.at += 1;
  for (;;) {
    const token = words[cursor.at];
    if (token === undefined || startsLine(words[cursor.at - 1], token)) return { name, args, block: undefined };
    if (token.text === '}') throw argumentError(token, name.text);
    cursor.at += 1;
    if (token.text === '{') return { name, args, block: readBlock(words, cursor, token) };
    args.push(token);
  }
}

function readBlock(words: readonly Token[], cursor: { at: number }, open: Token): Line[] {
  const lines: Line[] = [];
  for (;;) {
    const token = words[cursor.at];
    if (token === undefined) throw parsingError(open, 'Unexpected EOF');
    if (token.text === '}') {
      cursor.at += 1;
      return lines;
    }
    lines.push(readLine(words, cursor));
  }
}
