import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { diffPlans, type Entry, isEmptyDiff, sameValue } from '../src/index.ts';

const plan = fc
  .dictionary(fc.constantFrom('a', 'b', 'c', 'd', 'e'), fc.integer({ min: 0, max: 2 }))
  .map(
    (d) =>
      new Map<string, Entry<number>>(
        Object.entries(d).map(([k, value]) => [k, { value, cause: { kind: 'Test', name: k } }]),
      ),
  );

describe('diffPlans', () => {
  it('leads from one plan to the other', () => {
    fc.assert(
      fc.property(plan, plan, (from, to) => {
        const diff = diffPlans(from, to);
        const world = new Map([...from].map(([k, e]) => [k, e.value]));
        for (const k of diff.removed.keys()) world.delete(k);
        for (const [k, e] of diff.added) {
          expect(world.has(k)).toBe(false);
          world.set(k, e.value);
        }
        for (const [k, c] of diff.changed) {
          expect(world.get(k)).toBe(c.from.value);
          world.set(k, c.to.value);
        }
        expect(world).toEqual(new Map([...to].map(([k, e]) => [k, e.value])));
      }),
    );
  });

  it('is empty between equal plans, whatever their causes', () => {
    fc.assert(
      fc.property(plan, (p) => {
        const other = new Map([...p].map(([k, e]) => [k, { value: e.value, cause: { kind: 'Other', name: 'x' } }]));
        expect(isEmptyDiff(diffPlans(p, other))).toBe(true);
      }),
    );
  });
});

describe('sameValue', () => {
  it('agrees with JSON on JSON values', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
        const sorted = (v: unknown): string =>
          JSON.stringify(v, (_, x: unknown) =>
            x !== null && typeof x === 'object' && !Array.isArray(x)
              ? Object.fromEntries(Object.entries(x).sort(([p], [q]) => (p < q ? -1 : 1)))
              : Object.is(x, -0)
                ? 'minus zero'
                : x,
          );
        expect(sameValue(a, b)).toBe(sorted(a) === sorted(b));
        expect(sameValue(a, structuredClone(a))).toBe(true);
      }),
    );
  });

  it('compares bytes, maps and sets', () => {
    expect(sameValue(Uint8Array.of(1, 2), Uint8Array.of(1, 2))).toBe(true);
    expect(sameValue(Uint8Array.of(1, 2), Uint8Array.of(1, 3))).toBe(false);
    expect(sameValue(new Map([['a', [1]]]), new Map([['a', [1]]]))).toBe(true);
    expect(sameValue(new Map([['a', 1]]), new Map([['b', 1]]))).toBe(false);
    expect(sameValue(new Set([1]), new Set([2]))).toBe(false);
    expect(sameValue({ a: undefined }, { b: undefined })).toBe(false);
  });
});
