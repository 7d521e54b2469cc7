/** One word of a Corefile. */
export interface Token {
  readonly text: string;
  readonly file: string;
  /** Line of the word's first character. */
  readonly line: number;
  /** Line of the word's last character; differs only for quoted words. */
  readonly endLine: number;
}

const BLANK = /\s/;

/**
 * Splits a Corefile into words. Quotes count only at the start of a word and only `\"` is an escape inside; `#` starts
 * a comment even in the middle of a word, and such a glued comment ends at the next blank (both as in CoreDNS).
 */
export function tokenize(source: string, file: string): Token[] {
  const tokens: Token[] = [];
  const text = source.startsWith('\uFEFF') ? source.slice(1) : source;
  let line = 1;
  let start = 1;
  let word = '';
  let quoted = false;
  let open = false;
  let escaped = false;
  let comment = false;
  const flush = (): void => {
    tokens.push({ text: word, file, line: start, endLine: line });
    word = '';
    open = false;
    comment = false;
  };
  for (const c of text) {
    if (quoted) {
      if (!escaped && c === '\\') {
        escaped = true;
        continue;
      }
      if (!escaped && c === '"') {
        quoted = false;
        flush();
        continue;
      }
      if (escaped && c !== '"') word += '\\';
      escaped = false;
      word += c;
      if (c === '\n') line += 1;
      continue;
    }
    if (BLANK.test(c)) {
      if (c === '\r') continue;
      if (word !== '') flush();
      if (c === '\n') {
        line += 1;
        comment = false;
      }
      continue;
    }
    if (c === '#') comment = true;
    if (comment) continue;
    if (!open) {
      open = true;
      start = line;
      if (c === '"') {
        quoted = true;
        continue;
      }
    }
    word += c;
  }
  if (word !== '') flush();
  return tokens;
}

/**
 * True when `token` stands on another line (or in another file) than the token before it. A snippet's words keep
 * their own lines, which are smaller than those of the place of import; so lines are compared for difference.
 */
export function startsLine(before: Token | undefined, token: Token): boolean {
  return before === undefined || before.file !== token.file || before.endLine !== token.line;
}
