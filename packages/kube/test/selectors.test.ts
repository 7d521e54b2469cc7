import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  formatFieldSelector,
  formatLabelSelector,
  formatRequirements,
  labelMatcher,
  type LabelRequirement,
  type LabelSelector,
  matchFields,
  matchLabelSelector,
  matchLabels,
  matchRequirements,
  parseFieldSelector,
  parseLabelSelector,
} from '../src/index.ts';

const word = fc.stringMatching(/^[a-z]([-a-z0-9_.]{0,6}[a-z0-9])?$/);
const key = fc.oneof(
  word.filter((w) => w !== 'in' && w !== 'notin'),
  fc.tuple(fc.constantFrom('example.com', 'k8s.io', 'a'), word).map(([p, n]) => `${p}/${n}`),
);
const value = fc.oneof(word, fc.constant(''));
const requirement: fc.Arbitrary<LabelRequirement> = fc.oneof(
  fc.record({ key, operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const), values: fc.constant([]) }),
  fc.record({
    key,
    operator: fc.constantFrom('In' as const, 'NotIn' as const),
    values: fc.uniqueArray(value, { minLength: 1, maxLength: 4 }).map((v) => v.toSorted((a, b) => (a < b ? -1 : 1))),
  }),
  fc.record({
    key,
    operator: fc.constantFrom('Gt' as const, 'Lt' as const),
    values: fc.integer().map((n) => [String(n)]),
  }),
);
const someLabels = fc.dictionary(fc.constantFrom('a', 'b', 'c'), fc.constantFrom('', '1', '2', 'x'), { maxKeys: 3 });

describe('label selectors', () => {
  it('reads back what it writes', () => {
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 5 }), (requirements) => {
        expect(parseLabelSelector(formatRequirements(requirements))).toEqual(requirements);
      }),
    );
  });

  it('selects the same as an object and as text', () => {
    const selector: fc.Arbitrary<LabelSelector> = fc.record({
      matchLabels: someLabels,
      matchExpressions: fc.array(
        fc.oneof(
          fc.record({
            key: fc.constantFrom('a', 'b', 'c'),
            operator: fc.constantFrom('In' as const, 'NotIn' as const),
            values: fc.uniqueArray(fc.constantFrom('', '1', '2', 'x'), { minLength: 1 }),
          }),
          fc.record({
            key: fc.constantFrom('a', 'b', 'c'),
            operator: fc.constantFrom('Exists' as const, 'DoesNotExist' as const),
          }),
        ),
        { maxLength: 3 },
      ),
    });
    fc.assert(
      fc.property(selector, someLabels, (s, l) => {
        expect(labelMatcher(formatLabelSelector(s))(l)).toBe(matchLabelSelector(s, l));
      }),
    );
  });

  it('is the conjunction of its terms', () => {
    fc.assert(
      fc.property(fc.array(requirement, { maxLength: 4 }), someLabels, (requirements, l) => {
        expect(matchRequirements(requirements, l)).toBe(requirements.every((r) => matchRequirements([r], l)));
      }),
    );
  });

  it.each([
    ['a=1', { a: '1' }, true],
    ['a==1', { a: '2' }, false],
    ['a!=1', { a: '2' }, true],
    ['a!=1', {}, true],
    ['a', { a: '' }, true],
    ['!a', { a: '' }, false],
    ['! a', {}, true],
    ['a in (1, 2)', { a: '2' }, true],
    ['a in (1,2)', {}, false],
    ['a notin (1,2)', {}, true],
    ['a notin(1)', { a: '1' }, false],
    ['a in (,x)', { a: '' }, true],
    ['a=', { a: '' }, true],
    ['a=,b=2', { a: '', b: '2' }, true],
    ['a>5', { a: '10' }, true],
    ['a<5', { a: '10' }, false],
    ['a>5', { a: 'x' }, false],
    [' a = 1 , b ', { a: '1', b: '' }, true],
    ['', { a: '1' }, true],
    ['in in (in)', { in: 'in' }, true],
    ['in,notin', { in: '1', notin: '2' }, true],
    ['constructor', {}, false],
  ])('%s on %o: %s', (text, l, expected) => {
    expect(labelMatcher(text)(l as Record<string, string>)).toBe(expected);
  });

  it.each([
    'a=1=2',
    'a in 1',
    'a in (1',
    'a in (1;2)',
    ',a',
    'a,',
    'a=b c',
    '-a',
    'a/b/c',
    'A.com/x',
    'a>x',
    '=1',
    '!',
    'a=é',
    '!a=1',
    'a&b',
    `x=${'y'.repeat(64)}`,
  ])('refuses %s', (text) => {
    expect(() => parseLabelSelector(text)).toThrow(expect.objectContaining({ code: 'SELECTOR_INVALID' }));
  });

  it('selects nothing without a selector and everything with an empty one', () => {
    expect(matchLabelSelector(undefined, { a: '1' })).toBe(false);
    expect(matchLabelSelector(null, { a: '1' })).toBe(false);
    expect(matchLabelSelector({}, undefined)).toBe(true);
    expect(matchLabels(undefined, undefined)).toBe(true);
    expect(matchLabels({ a: '1' }, undefined)).toBe(false);
  });

  it('refuses an unknown operator', () => {
    expect(() => formatLabelSelector({ matchExpressions: [{ key: 'a', operator: 'Maybe' as 'In' }] })).toThrow(
      '"Maybe" is not a valid label selector operator',
    );
    expect(() => formatLabelSelector({ matchExpressions: [{ key: 'a', operator: 'In' }] })).toThrow("can't be empty");
  });
});

describe('field selectors', () => {
  const pod = { metadata: { name: 'web' }, spec: { nodeName: 'n1', hostNetwork: true }, status: { phase: 'Failed' } };
  it.each([
    ['metadata.name=web', true],
    ['metadata.name==web,spec.nodeName!=n2', true],
    ['status.phase!=Succeeded,status.phase!=Failed', false],
    ['spec.missing=', true],
    ['spec.missing!=x', true],
    ['spec.hostNetwork=true', true],
    ['', true],
  ])('%s: %s', (text, expected) => {
    expect(matchFields(parseFieldSelector(text), pod)).toBe(expected);
  });

  it('reads back what it writes, whatever the value', () => {
    const term = fc.record({
      path: fc.constantFrom('metadata.name', 'spec.nodeName'),
      operator: fc.constantFrom('=' as const, '!=' as const),
      value: fc.string(),
    });
    fc.assert(
      fc.property(fc.array(term, { maxLength: 4 }), (terms) => {
        expect(parseFieldSelector(formatFieldSelector(terms))).toEqual(terms);
      }),
    );
  });

  it.each(['metadata.name', 'a=b=c', 'a=\\x'])('refuses %s', (text) => {
    expect(() => parseFieldSelector(text)).toThrow(expect.objectContaining({ code: 'SELECTOR_INVALID' }));
  });
});
