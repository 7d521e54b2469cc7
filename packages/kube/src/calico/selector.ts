import type { Labels } from '../selectors/labels.ts';

/** A parsed selector: true for labels that it selects. */
export type CalicoSelector = (labels: Labels | undefined) => boolean;

type Token = { readonly kind: 'op' | 'text' | 'word'; readonly text: string };

const TOKEN = /\s*(?:(&&|\|\||==|!=|!|\(|\)|\{|\}|,)|"([^"]*)"|'([^']*)'|([A-Za-z0-9_./-]+))/y;

function tokenize(text: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  while (text.slice(at).trim() !== '') {
    TOKEN.lastIndex = at;
    const match = TOKEN.exec(text);
    if (match === null) throw new SyntaxError(`unexpected ${JSON.stringify(text.slice(at).trim().slice(0, 12))}`);
    const [, op, double, single, word] = match;
    if (op !== undefined) tokens.push({ kind: 'op', text: op });
    else if (word !== undefined) tokens.push({ kind: 'word', text: word });
    else tokens.push({ kind: 'text', text: double ?? single ?? '' });
    at = TOKEN.lastIndex;
  }
  return tokens;
}

/** Deepest nesting of parentheses and negations. */
const DEPTH = 100;

class Parser {
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;

  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens;
  }

  whole(): CalicoSelector {
    const selector = this.#or();
    if (this.#at < this.#tokens.length) this.#fail('the end');
    return selector;
  }

  #or(): CalicoSelector {
    const parts = [this.#and()];
    while (this.#take('||')) parts.push(this.#and());
    return parts.length === 1 ? (parts[0] as CalicoSelector) : (labels) => parts.some((part) => part(labels));
  }

  #and(): CalicoSelector {
    const parts = [this.#term()];
    while (this.#take('&&')) parts.push(this.#term());
    return parts.length === 1 ? (parts[0] as CalicoSelector) : (labels) => parts.every((part) => part(labels));
  }

  #term(): CalicoSelector {
    if (++this.#depth > DEPTH) throw new SyntaxError(`nested deeper than ${DEPTH}`);
    try {
      if (this.#take('!')) {
        const inner = this.#term();
        return (labels) => !inner(labels);
      }
      if (this.#take('(')) {
        const inner = this.#or();
        this.#need(')');
        return inner;
      }
      return this.#comparison();
    } finally {
      this.#depth -= 1;
    }
  }

  #comparison(): CalicoSelector {
    const word = this.#word('a label name');
    if (this.#take('(')) return this.#call(word);
    const of = (labels: Labels | undefined): string | undefined =>
      labels !== undefined && Object.hasOwn(labels, word) ? labels[word] : undefined;
    if (this.#take('==')) {
      const value = this.#text();
      return (labels) => of(labels) === value;
    }
    if (this.#take('!=')) {
      const value = this.#text();
      return (labels) => of(labels) !== value;
    }
    const operator = this.#word('an operator');
    if (operator === 'contains') return this.#textTest(of, (have, want) => have.includes(want));
    if (operator === 'starts' || operator === 'ends') {
      if (this.#word('"with"') !== 'with') this.#fail('"with"', -1);
      return this.#textTest(of, (have, want) => (operator === 'starts' ? have.startsWith(want) : have.endsWith(want)));
    }
    const negated = operator === 'not';
    if ((negated ? this.#word('"in"') : operator) !== 'in') this.#fail('an operator', -1);
    const values = this.#set();
    return (labels) => values.has(of(labels) ?? '\0') !== negated;
  }

  #call(name: string): CalicoSelector {
    if (name === 'all' || name === 'global') {
      this.#need(')');
      return name === 'all' ? () => true : () => false;
    }
    if (name !== 'has') this.#fail('all(), global() or has(LABEL)', -2);
    const key = this.#word('a label name');
    this.#need(')');
    return (labels) => labels !== undefined && Object.hasOwn(labels, key);
  }

  #textTest(
    of: (labels: Labels | undefined) => string | undefined,
    test: (have: string, want: string) => boolean,
  ): CalicoSelector {
    const want = this.#text();
    return (labels) => {
      const have = of(labels);
      return have !== undefined && test(have, want);
    };
  }

  #set(): ReadonlySet<string> {
    this.#need('{');
    const values = new Set<string>();
    if (this.#take('}')) return values;
    do values.add(this.#text());
    while (this.#take(','));
    this.#need('}');
    return values;
  }

  #take(op: string): boolean {
    const token = this.#tokens[this.#at];
    if (token?.kind !== 'op' || token.text !== op) return false;
    this.#at += 1;
    return true;
  }

  #need(op: string): void {
    if (!this.#take(op)) this.#fail(`"${op}"`);
  }

  #word(what: string): string {
    const token = this.#tokens[this.#at++];
    return token?.kind === 'word' ? token.text : this.#fail(what, -1);
  }

  #text(): string {
    const token = this.#tokens[this.#at++];
    return token?.kind === 'text' ? token.text : this.#fail('a quoted text', -1);
  }

  #fail(wanted: string, back = 0): never {
    const token = this.#tokens[this.#at + back];
    throw new SyntaxError(`expected ${wanted}, found ${token === undefined ? 'the end' : JSON.stringify(token.text)}`);
  }
}

/**
 * Reads a selector of Calico's language: `has(k)`, `k == "v"`, `!=`, `in {…}`, `not in {…}`, `contains`, `starts with`,
 * `ends with`, `!`, `&&`, `||`, parentheses, `all()`, `global()`. The empty text selects everything. `!=` and `not in`
 * also hold for labels that are absent. Throws SyntaxError that says what was expected.
 */
export function parseCalicoSelector(text: string | undefined): CalicoSelector {
  const tokens = tokenize(text ?? '');
  return tokens.length === 0 ? () => true : new Parser(tokens).whole();
}

/** True when a selector is absent or `all()`: it leaves nothing out by its form. */
export function selectsAll(text: string | undefined): boolean {
  return text === undefined || /^\s*(all\(\s*\)\s*)?$/.test(text);
}
