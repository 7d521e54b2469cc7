import fc from 'fast-check';
import { expect, test } from 'vitest';
import { asPathLength, prependAs } from '../../src/bgp/codec/as-path.ts';
import { as, attributes } from './arbitraries.ts';

test('an AS before a path makes it one longer, whatever it begins with', () => {
  fc.assert(
    fc.property(attributes, as, ({ asPath }, own) => {
      const longer = prependAs(asPath, own);
      expect(asPathLength(longer)).toBe(asPathLength(asPath) + 1);
      expect(longer.flatMap((s) => s.ases)).toEqual([own, ...asPath.flatMap((s) => s.ases)]);
    }),
  );
});

test('a sequence that is full gets another before it', () => {
  const full = [{ kind: 'sequence' as const, ases: Array.from({ length: 255 }, () => 1) }];
  expect(prependAs(full, 2)).toEqual([{ kind: 'sequence', ases: [2] }, ...full]);
});

test('a set counts once', () => {
  expect(asPathLength([{ kind: 'set', ases: [1, 2, 3] }])).toBe(1);
});
