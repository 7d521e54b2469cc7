import { WeftError } from '@weft/plan';

/** One term of a field selector: the field at a dotted path equals, or differs from, a value. */
export interface FieldRequirement {
  readonly path: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/**
 * Parses `metadata.name=web,status.phase!=Failed`. A backslash escapes `,`, `=` and itself in values
 * (k8s.io/apimachinery/pkg/fields). The empty text has no terms. Throws WeftError `SELECTOR_INVALID`.
 */
export function parseFieldSelector(text: string): FieldRequirement[] {
  const out: FieldRequirement[] = [];
  for (const term of splitTerms(text)) {
    if (term === '') continue;
    const at = operatorAt(term);
    if (at === undefined) {
      throw invalid(`invalid selector: '${text}'; can't understand '${term}'`);
    }
    out.push({
      path: term.slice(0, at.index),
      operator: at.operator === '!=' ? '!=' : '=',
      value: unescapeValue(term.slice(at.index + at.operator.length), text),
    });
  }
  return out;
}

/** The inverse of parseFieldSelector. */
export function formatFieldSelector(requirements: readonly FieldRequirement[]): string {
  return requirements.map((r) => `${r.path}${r.operator}${r.value.replace(/[\\,=]/g, '\\$&')}`).join(',');
}

/**
 * True when all terms hold. `fieldOf` gives the value of a path; the default walks the object by the path's dots and
 * reads a missing field as the empty text, as the API server does.
 */
export function matchFields<T>(
  requirements: readonly FieldRequirement[],
  object: T,
  fieldOf: (object: T, path: string) => string = fieldText,
): boolean {
  return requirements.every((r) => (fieldOf(object, r.path) === r.value) === (r.operator === '='));
}

/** The field at a dotted path as text; empty when it is missing or not a scalar. */
export function fieldText(object: unknown, path: string): string {
  let value: unknown = object;
  for (const part of path.split('.')) {
    if (value === null || typeof value !== 'object') return '';
    value = (value as Record<string, unknown>)[part];
  }
  return typeof value === 'string' ? value : typeof value === 'number' || typeof value === 'boolean' ? `${value}` : '';
}

function splitTerms(text: string): string[] {
  const terms: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if (text[i] === '\\') i++;
    else if (text[i] === ',') {
      terms.push(text.slice(start, i));
      start = i + 1;
    }
  }
  terms.push(text.slice(start));
  return terms;
}

function operatorAt(term: string): { index: number; operator: string } | undefined {
  for (let i = 0; i < term.length; i++) {
    for (const operator of ['!=', '==', '=']) {
      if (term.startsWith(operator, i)) return { index: i, operator };
    }
  }
  return undefined;
}

function unescapeValue(value: string, text: string): string {
  let out = '';
  for (let i = 0; i < value.length; i++) {
    const c = value[i] as string;
    if (c === '\\') {
      const next = value[++i];
      if (next !== '\\' && next !== ',' && next !== '=') {
        throw invalid(`invalid field selector: invalid escape sequence in "${text}"`);
      }
      out += next;
    } else if (c === '=') {
      throw invalid(`invalid field selector: unescaped character in value: "${value}"`);
    } else out += c;
  }
  return out;
}

function invalid(message: string): WeftError {
  return new WeftError({ code: 'SELECTOR_INVALID', message });
}
