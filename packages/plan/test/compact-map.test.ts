import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CompactMap, flatten } from '../src/index.ts';

const key = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((n) => `team/service-${n}`),
  fc.string({ maxLength: 3 }),
);
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant('set' as const), key, value: fc.option(fc.nat(), { nil: undefined }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('delete' as const), key }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant('clear' as const) }) },
);
const sorted = <T>(entries: Iterable<[string, T]>): [string, T][] =>
  [...entries].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));

describe('CompactMap', () => {
  it('is a Map in all but the order', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 300 }), (steps) => {
        const map = new CompactMap<number | undefined>();
        const model = new Map<string, number | undefined>();
        for (const s of steps) {
          if (s.do === 'set') {
            map.set(s.key, s.value);
            model.set(s.key, s.value);
          } else if (s.do === 'delete') expect(map.delete(s.key)).toBe(model.delete(s.key));
          else {
            map.clear();
            model.clear();
          }
          expect(map.size).toBe(model.size);
        }
        expect(sorted(map)).toEqual(sorted(model));
        expect([...map.keys()].sort()).toEqual([...model.keys()].sort());
        expect([...map.values()].length).toBe(model.size);
        for (const k of [...model.keys(), 'never set']) {
          expect(map.get(k)).toBe(model.get(k));
          expect(map.has(k)).toBe(model.has(k));
        }
      }),
    );
  });

  it('keeps what it holds through growth, and stays small when keys come and go', () => {
    const map = new CompactMap<number>();
    for (let i = 0; i < 20_000; i++) map.set(`key ${i}`, i);
    for (let round = 0; round < 20; round++) {
      for (let i = 0; i < 1000; i++) expect(map.delete(`key ${round * 1000 + i}`)).toBe(true);
      for (let i = 0; i < 1000; i++) map.set(`key ${20_000 + round * 1000 + i}`, i);
    }
    expect(map.size).toBe(20_000);
    expect(map.get('key 20000')).toBe(0);
    expect(map.get('key 39999')).toBe(999);
    expect(map.get('key 19999')).toBeUndefined();
  });

  it('lets entries be removed while they are visited', () => {
    const map = new CompactMap<number>();
    for (let i = 0; i < 100; i++) map.set(`${i}`, i);
    const seen: number[] = [];
    for (const [k, value] of map) {
      seen.push(value);
      map.delete(k);
    }
    expect(seen.length).toBe(100);
    expect(map.size).toBe(0);
  });
});

it('flatten gives back the same text', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.string(), (a, b) => {
      expect(flatten(a + b)).toBe(a + b);
    }),
  );
  expect(flatten('half a pair \ud800 of surrogates')).toBe('half a pair \ud800 of surrogates');
});
