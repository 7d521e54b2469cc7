import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { addressDefinitions, parseCalicoSelector, selectsAll } from '../src/index.ts';

const selects = (text: string | undefined, labels?: Record<string, string>): boolean =>
  parseCalicoSelector(text)(labels);

describe("selectors of Calico's language", () => {
  const labels = { app: 'web', tier: 'front-end', 'example.com/zone': 'a' };

  it.each([
    [undefined, true],
    ['', true],
    ['all()', true],
    ['global()', false],
    ['has(app)', true],
    ['!has(app)', false],
    ['has(other)', false],
    ["app == 'web'", true],
    ['app=="db"', false],
    ["other != 'x'", true],
    ["app != 'web'", false],
    ["app in {'db', 'web'}", true],
    ['app in {}', false],
    ["app not in {'db'}", true],
    ["other not in {'db'}", true],
    ["tier contains 'nt-e'", true],
    ["tier starts with 'front'", true],
    ["tier ends with 'front'", false],
    ["other contains ''", false],
    ["example.com/zone == 'a' && (app == 'db' || !(tier == 'x'))", true],
    ["app == 'db' || app == 'web' && has(nothing)", false],
  ])('%s', (text, expected) => {
    expect(selects(text, labels)).toBe(expected);
  });

  it('hold for labels named like members of every object', () => {
    expect(selects('has(constructor)', {})).toBe(false);
    expect(selects("constructor != 'x'")).toBe(true);
  });

  it.each([
    ['app ==', 'expected a quoted text, found the end'],
    ['app', 'expected an operator, found the end'],
    ['app is "x"', 'expected an operator, found "is"'],
    ['foo()', 'expected all(), global() or has(LABEL), found "foo"'],
    ['(all()', 'expected ")", found the end'],
    ['all() all()', 'expected the end, found "all"'],
    ['app == "x" ; b', 'unexpected "; b"'],
    ['app starts "x"', 'expected "with", found "x"'],
    ['!'.repeat(1000), 'nested deeper than 100'],
  ])('%s is refused', (text, message) => {
    expect(() => parseCalicoSelector(text)).toThrow(message);
  });

  it('never fail in another way', () => {
    const piece = fc.constantFrom(
      'all()',
      'has(a)',
      'a',
      '==',
      '!=',
      '"x"',
      "'y'",
      '&&',
      '||',
      '!',
      '(',
      ')',
      'in',
      '{',
      '}',
      ',',
      '$',
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 12 }), (pieces) => {
        try {
          expect(typeof selects(pieces.join(' '), { a: 'x' })).toBe('boolean');
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
    );
  });

  it('leave nothing out when they are absent or all()', () => {
    expect([undefined, ' ', 'all( )', 'has(a)', '!all()'].map(selectsAll)).toEqual([true, true, true, false, false]);
  });
});

describe('definitions of the address kinds', () => {
  it('are named as the API wants it, each once', () => {
    const all = addressDefinitions();
    for (const { metadata, spec } of all) expect(metadata.name).toBe(`${spec.names.plural}.${spec.group}`);
    expect(new Set(all.map((d) => d.metadata.name)).size).toBe(all.length);
  });
});
