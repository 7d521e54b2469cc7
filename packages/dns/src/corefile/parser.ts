import { parsingError, type Position, syntaxError } from './error.ts';
import { startsLine, type Token, tokenize } from './lexer.ts';

/** Reads the files that a Corefile imports; injected so that parsing stays free of I/O of its own. */
export interface ImportSource {
  /** Text of a file. Throws when it cannot be read. */
  read(path: string): string;
  /** Paths that match a pattern with one wildcard, sorted. */
  glob(pattern: string): readonly string[];
  /** `path` as seen from the file that imports it. */
  resolve(path: string, importer: string): string;
}

export interface ParseOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly imports?: ImportSource;
  /** Is this the name of a plugin at all? Unknown names are errors where they stand. */
  readonly isDirective: (name: string) => boolean;
  readonly warn?: (position: Position, message: string) => void;
}

/** A server block: its keys as written and, per plugin, every word that belongs to it. */
export interface ServerBlock {
  readonly keys: readonly Token[];
  /** Words by directive in order of first use; a directive used twice has its words joined, as in CoreDNS. */
  readonly directives: ReadonlyMap<string, readonly Token[]>;
}

const MAX_SNIPPET_IMPORTS = 10_000;
const MAX_FILE_IMPORTS = 100_000;

/** Parses a Corefile. @throws CorefileError with file and line. */
export function parseCorefile(text: string, file: string, options: ParseOptions): ServerBlock[] {
  return new Parser(tokenize(text, file), file, options).all();
}

/** Replaces `{$NAME}` and `{%NAME%}`; a variable that is not set becomes nothing. */
function replaceEnv(text: string, env: Readonly<Record<string, string | undefined>>): string {
  return text
    .replace(/\{\$([^}]*)\}/g, (_, name: string) => env[name] ?? '')
    .replace(/\{%([^%]*)%\}/g, (_, name: string) => env[name] ?? '');
}

class Parser {
  readonly #tokens: Token[];
  readonly #file: string;
  readonly #options: ParseOptions;
  readonly #env: Readonly<Record<string, string | undefined>>;
  readonly #snippets = new Map<string, readonly Token[]>();
  #at = 0;
  #snippetImports = 0;
  #fileImports = 0;

  constructor(tokens: Token[], file: string, options: ParseOptions) {
    this.#tokens = tokens;
    this.#file = file;
    this.#options = options;
    this.#env = options.env ?? {};
  }

  all(): ServerBlock[] {
    const blocks: ServerBlock[] = [];
    while (this.#at < this.#tokens.length) {
      const keys = this.#keys();
      const only = keys.length === 1 ? (keys[0] as Token) : undefined;
      if (only !== undefined && /^\(.*\)$/s.test(only.text) && this.#peek() !== undefined) this.#defineSnippet(only);
      else {
        const directives = this.#peek() === undefined ? new Map<string, Token[]>() : this.#block();
        if (keys.length > 0) blocks.push({ keys, directives });
      }
    }
    return blocks;
  }

  #peek(): Token | undefined {
    return this.#tokens[this.#at];
  }

  #previous(): Token | undefined {
    return this.#tokens[this.#at - 1];
  }

  #newLine(token: Token): boolean {
    return startsLine(this.#previous(), token);
  }

  #end(): Position {
    const last = this.#tokens.at(-1);
    return last === undefined ? { file: this.#file, line: 1 } : { file: last.file, line: last.endLine };
  }

  #keys(): Token[] {
    const keys: Token[] = [];
    let expectsMore = false;
    for (;;) {
      const token = this.#peek();
      if (token === undefined) {
        if (expectsMore) throw parsingError(this.#end(), 'Unexpected EOF');
        return keys;
      }
      if (keys.length > 0 && !expectsMore && token.text !== '{' && this.#newLine(token)) return keys;
      let text = replaceEnv(token.text, this.#env);
      if (text === 'import' && this.#newLine(token)) {
        this.#import();
        continue;
      }
      if (text === '{') {
        if (expectsMore)
          throw parsingError(token, `Expected another address but had '${text}' - check for extra comma`);
        return keys;
      }
      if (text !== '') {
        expectsMore = text.endsWith(',');
        if (expectsMore) text = text.slice(0, -1);
        keys.push({ ...token, text });
      }
      this.#at += 1;
      // An empty key (an unset variable) still ends the list of keys with its line.
      const next = this.#peek();
      if (keys.length === 0 && next !== undefined && next.text !== '{' && this.#newLine(next)) return keys;
    }
  }

  #defineSnippet(key: Token): void {
    const name = key.text.slice(1, -1);
    if (this.#snippets.has(name)) throw parsingError(key, `redeclaration of previously declared snippet ${name}`);
    const brace = this.#peek() as Token;
    if (brace.text !== '{') throw syntaxError(brace, brace.text, '{');
    this.#at += 1;
    const body: Token[] = [];
    for (let depth = 1; ; this.#at++) {
      const token = this.#peek();
      if (token === undefined) throw syntaxError(this.#end(), this.#tokens.at(-1)?.text ?? '', '}');
      if (token.text === '{') depth += 1;
      if (token.text === '}' && --depth === 0) break;
      body.push(token);
    }
    this.#at += 1;
    this.#snippets.set(name, body);
  }

  #block(): Map<string, Token[]> {
    const directives = new Map<string, Token[]>();
    const first = this.#peek() as Token;
    const braced = first.text === '{';
    if (braced) this.#at += 1;
    for (;;) {
      const token = this.#peek();
      if (token === undefined) {
        if (!braced) return directives;
        const last = this.#tokens.at(-1) as Token;
        throw syntaxError(this.#end(), last.text, '}');
      }
      if (token.text === '}') {
        this.#at += 1;
        return directives;
      }
      if (token.text === 'import') this.#import();
      else this.#directive(token, directives);
    }
  }

  #directive(first: Token, directives: Map<string, Token[]>): void {
    const name = replaceEnv(first.text, this.#env);
    if (!this.#options.isDirective(name)) {
      throw parsingError(first, `Unknown directive '${name}'`, 'plugin names are case-sensitive');
    }
    const words = directives.get(name) ?? [];
    directives.set(name, words);
    words.push({ ...first, text: name });
    this.#at += 1;
    let depth = 0;
    for (;;) {
      const token = this.#peek();
      if (token === undefined) break;
      const fresh = this.#newLine(token);
      if (token.text === '{') depth += 1;
      else if (fresh && depth === 0) break;
      else if (token.text === '}' && depth > 0) depth -= 1;
      else if (token.text === '}') throw parsingError(token, "Unexpected '}' because no matching opening brace");
      else if (token.text === 'import' && fresh) {
        this.#import();
        continue;
      }
      words.push({ ...token, text: replaceEnv(token.text, this.#env) });
      this.#at += 1;
    }
    if (depth > 0) throw parsingError(this.#end(), 'Unexpected EOF');
  }

  /** Replaces `import X` at the cursor by what X stands for. */
  #import(): void {
    const directive = this.#peek() as Token;
    const argument = this.#tokens[this.#at + 1];
    if (argument === undefined || startsLine(directive, argument)) {
      throw parsingError(directive, "Wrong argument count or unexpected line ending after 'import'");
    }
    const pattern = replaceEnv(argument.text, this.#env);
    if (pattern === '') throw parsingError(argument, 'Import requires a non-empty filepath');
    const extra = this.#tokens[this.#at + 2];
    if (extra !== undefined && !startsLine(argument, extra)) {
      throw parsingError(extra, 'Import takes only one argument (glob pattern or file)');
    }
    const snippet = this.#snippets.get(pattern);
    let tokens: readonly Token[];
    if (snippet !== undefined) {
      this.#snippetImports += 1;
      if (this.#snippetImports > MAX_SNIPPET_IMPORTS) throw parsingError(argument, 'Too many snippet imports');
      tokens = snippet;
    } else tokens = this.#importFiles(pattern, argument);
    this.#tokens.splice(this.#at, 2, ...tokens);
  }

  #importFiles(pattern: string, at: Token): Token[] {
    const { imports } = this.#options;
    if (imports === undefined) throw parsingError(at, `File to import not found: ${pattern}`);
    const path = imports.resolve(pattern, at.file);
    const wild = path.split('*').length - 1 > 1 || path.split('?').length - 1 > 1 || /\[.*\]/.test(path);
    if (wild) throw parsingError(at, `Glob pattern may only contain one wildcard (*), but has others: ${path}`);
    const globbing = /[*?[\]]/.test(path);
    const files = globbing ? imports.glob(path) : [path];
    if (globbing && files.length === 0) {
      this.#options.warn?.(at, `No files matching import glob pattern: ${pattern}`);
    }
    return files.flatMap((file) => {
      this.#fileImports += 1;
      if (this.#fileImports > MAX_FILE_IMPORTS) throw parsingError(at, 'Too many file imports');
      let text: string;
      try {
        text = imports.read(file);
      } catch (error) {
        const code = (error as NodeJS.ErrnoException).code;
        if (code === 'ENOENT') throw parsingError(at, `File to import not found: ${pattern}`);
        if (code === 'EISDIR') throw parsingError(at, `Could not import ${file}: is a directory`);
        throw parsingError(at, `Could not import ${file}: ${(error as Error).message}`);
      }
      return tokenize(text, file);
    });
  }
}
