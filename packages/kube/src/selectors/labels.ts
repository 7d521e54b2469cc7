import { WeftError } from '@weft/plan';
import type { LabelSelector, LabelSelectorRequirement } from '../types/meta.ts';

export type Labels = Readonly<Record<string, string>>;

/** One term of a label selector; a selector is the conjunction of its terms. `Gt`/`Lt` exist in text form only. */
export interface LabelRequirement {
  readonly key: string;
  readonly operator: LabelSelectorRequirement['operator'] | 'Gt' | 'Lt';
  readonly values: readonly string[];
}

/** A test for one set of labels. */
export type LabelMatcher = (labels: Labels | undefined) => boolean;

/**
 * True when the selector selects the labels. An absent selector selects nothing and an empty one everything, as in
 * `metav1.LabelSelectorAsSelector`.
 */
export function matchLabelSelector(selector: LabelSelector | undefined | null, labels: Labels | undefined): boolean {
  if (!selector) return false;
  for (const key in selector.matchLabels) {
    if (!has(labels, key) || labels?.[key] !== selector.matchLabels[key]) return false;
  }
  for (const r of selector.matchExpressions ?? []) {
    if (!matchOne(r.key, r.operator, r.values ?? [], labels)) return false;
  }
  return true;
}

/** True when every pair of `selector` is among `labels` (Service and node selectors). Empty selects everything. */
export function matchLabels(selector: Labels | undefined | null, labels: Labels | undefined): boolean {
  for (const key in selector) {
    if (!has(labels, key) || labels?.[key] !== selector[key]) return false;
  }
  return true;
}

/** True when all requirements hold. */
export function matchRequirements(requirements: readonly LabelRequirement[], labels: Labels | undefined): boolean {
  return requirements.every((r) => matchOne(r.key, r.operator, r.values, labels));
}

/** A selector's terms, `matchLabels` first by key. Throws WeftError `SELECTOR_INVALID` on a bad operator or key. */
export function labelSelectorRequirements(selector: LabelSelector): LabelRequirement[] {
  const out: LabelRequirement[] = [];
  for (const key of Object.keys(selector.matchLabels ?? {}).sort()) {
    out.push({ key, operator: 'In', values: [selector.matchLabels?.[key] ?? ''] });
  }
  for (const { key, operator, values = [] } of selector.matchExpressions ?? []) {
    if (!['In', 'NotIn', 'Exists', 'DoesNotExist'].includes(operator)) {
      throw invalid(`"${operator}" is not a valid label selector operator`);
    }
    const takesValues = operator === 'In' || operator === 'NotIn';
    if (takesValues && values.length === 0)
      throw invalid(`values: for 'in', 'notin' operators, values set can't be empty`);
    if (!takesValues && values.length > 0)
      throw invalid('values: values set must be empty for exists and does not exist');
    out.push({ key, operator, values });
  }
  return out;
}

function has(labels: Labels | undefined, key: string): boolean {
  return labels !== undefined && labels !== null && Object.hasOwn(labels, key);
}

function matchOne(
  key: string,
  operator: LabelRequirement['operator'],
  values: readonly string[],
  labels: Labels | undefined,
): boolean {
  const present = has(labels, key);
  const value = present ? (labels?.[key] ?? '') : '';
  switch (operator) {
    case 'In':
      return present && values.includes(value);
    case 'NotIn':
      // An absent key is not in any set: the one surprise of set-based selectors.
      return !present || !values.includes(value);
    case 'Exists':
      return present;
    case 'DoesNotExist':
      return !present;
    case 'Gt':
    case 'Lt': {
      if (!present || !/^[+-]?\d+$/.test(value)) return false;
      const left = BigInt(value.replace('+', ''));
      const right = BigInt((values[0] ?? '0').replace('+', ''));
      return operator === 'Gt' ? left > right : left < right;
    }
    default:
      return false;
  }
}

/** The textual form that the API takes as `labelSelector`, for example `app=web,tier in (a,b),!old`. */
export function formatLabelSelector(selector: LabelSelector | undefined | null): string {
  return selector ? formatRequirements(labelSelectorRequirements(selector)) : '';
}

/** The textual form of requirements; parseLabelSelector is its inverse. */
export function formatRequirements(requirements: readonly LabelRequirement[]): string {
  return requirements
    .map(({ key, operator, values }) => {
      switch (operator) {
        case 'Exists':
          return key;
        case 'DoesNotExist':
          return `!${key}`;
        case 'Gt':
          return `${key}>${values[0]}`;
        case 'Lt':
          return `${key}<${values[0]}`;
        case 'In':
          return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${[...values].sort().join(',')})`;
        default:
          return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${[...values].sort().join(',')})`;
      }
    })
    .join(',');
}

/** A matcher for the textual form; the empty text matches everything. */
export function labelMatcher(text: string): LabelMatcher {
  const requirements = parseLabelSelector(text);
  return (labels) => matchRequirements(requirements, labels);
}

const TOKEN = /\s*(?:(!=|==|=|!|<|>|\(|\)|,)|([^\s!=<>(),]+))/y;

/**
 * Parses the textual form: terms joined by `,`, each `key`, `!key`, `key=v`, `key==v`, `key!=v`, `key in (a,b)`,
 * `key notin (a,b)`, `key>n` or `key<n` (k8s.io/apimachinery/pkg/labels). The empty text has no terms.
 * Throws WeftError `SELECTOR_INVALID`.
 */
export function parseLabelSelector(text: string): LabelRequirement[] {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const trimmed = text.trimEnd();
  while (TOKEN.lastIndex < trimmed.length) {
    const match = TOKEN.exec(trimmed);
    if (!match) throw unparsable('', text);
    tokens.push(match[1] ?? match[2] ?? '');
  }
  const out: LabelRequirement[] = [];
  let at = 0;
  const fail = (expected: string): never => {
    throw unparsable(`found '${tokens[at] ?? ''}', expected: ${expected}`, text);
  };
  const isWord = (t: string | undefined): t is string => t !== undefined && !/^(!=|==|=|!|<|>|\(|\)|,)$/.test(t);
  const word = (what: string): string => {
    const token = tokens[at];
    if (!isWord(token)) return fail(what);
    at++;
    return token;
  };
  /** A value may be empty: `a=`, `a in (,b)`. */
  const value = (): string => (isWord(tokens[at]) ? (tokens[at++] as string) : '');
  const set = (): string[] => {
    if (tokens[at] !== '(') fail("'('");
    at++;
    const values = new Set<string>();
    for (;;) {
      values.add(checkValue(value()));
      if (tokens[at] === ',') at++;
      else if (tokens[at] === ')') break;
      else fail("',', or ')'");
    }
    at++;
    return [...values].sort();
  };

  while (at < tokens.length) {
    if (tokens[at] === '!') {
      at++;
      out.push({ key: checkKey(word('identifier')), operator: 'DoesNotExist', values: [] });
    } else {
      const key = checkKey(word("!, identifier, or 'end of string'"));
      const operator = tokens[at];
      if (operator === undefined || operator === ',') {
        out.push({ key, operator: 'Exists', values: [] });
      } else {
        at++;
        if (operator === '=' || operator === '==') out.push({ key, operator: 'In', values: [checkValue(value())] });
        else if (operator === '!=') out.push({ key, operator: 'NotIn', values: [checkValue(value())] });
        else if (operator === '>' || operator === '<') {
          const number = word('an integer');
          if (!/^[+-]?\d+$/.test(number)) {
            throw invalid(
              `values[0]: Invalid value: "${number}": for 'Gt', 'Lt' operators, the value must be an integer`,
            );
          }
          out.push({ key, operator: operator === '>' ? 'Gt' : 'Lt', values: [number] });
        } else if (operator === 'in') out.push({ key, operator: 'In', values: set() });
        else if (operator === 'notin') out.push({ key, operator: 'NotIn', values: set() });
        else {
          at--;
          fail('in, notin, =, ==, !=, gt, lt');
        }
      }
    }
    if (at === tokens.length) break;
    if (tokens[at] !== ',') fail("',' or 'end of string'");
    at++;
    if (at === tokens.length) fail("identifier after ','");
  }
  return out;
}

const NAME = /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$/;

/** True for a qualified name: `name` or `dns.subdomain/name`, the name at most 63 characters. */
export function isLabelKey(key: string): boolean {
  const slash = key.indexOf('/');
  if (slash < 0) return NAME.test(key);
  const prefix = key.slice(0, slash);
  return prefix.length <= 253 && SUBDOMAIN.test(prefix) && NAME.test(key.slice(slash + 1));
}

/** True for the empty text or at most 63 characters of the label alphabet. */
export function isLabelValue(value: string): boolean {
  return value === '' || NAME.test(value);
}

function checkKey(key: string): string {
  if (isLabelKey(key)) return key;
  throw invalid(
    `key: Invalid value: "${key}": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
  );
}

function checkValue(value: string): string {
  if (isLabelValue(value)) return value;
  const why =
    value.length > 63
      ? 'must be no more than 63 characters'
      : `a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`;
  throw invalid(`values[0]: Invalid value: "${value}": ${why}`);
}

function invalid(message: string): WeftError {
  return new WeftError({ code: 'SELECTOR_INVALID', message });
}

function unparsable(why: string, text: string): WeftError {
  return invalid(`unable to parse requirement: ${why || `unexpected text in "${text}"`}`);
}
