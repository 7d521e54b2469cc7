import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { searchCandidates } from '../../src/client/search.ts';
import { Busiest } from '../../src/inspect/busiest.ts';

describe('the busiest keys', () => {
  it('are found in bounded memory, and nothing is counted twice or lost', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(200), { maxLength: 2000 }), fc.integer({ min: 2, max: 20 }), (keys, capacity) => {
        const busiest = new Busiest(capacity, () => ({ count: 0 }));
        const exact = new Map<string, number>();
        for (const n of keys) {
          // Half of all queries are for one name: it must survive whatever else comes.
          for (const key of [`${n}`, 'hot']) {
            busiest.cell(key).count += 1;
            exact.set(key, (exact.get(key) ?? 0) + 1);
          }
          expect(busiest.size).toBeLessThanOrEqual(2 * capacity);
        }
        const top = busiest.top(Number.POSITIVE_INFINITY);
        expect(top.reduce((sum, { cell }) => sum + cell.count, busiest.forgotten)).toBe(2 * keys.length);
        for (const { key, cell } of top) expect(cell.count).toBeLessThanOrEqual(exact.get(key) ?? 0);
        if (keys.length > 0) expect(top.find(({ key }) => key === 'hot')?.cell.count).toBe(keys.length);
      }),
    );
  });
});

describe('search domains', () => {
  const searches = ['shop.svc.cluster.local', 'svc.cluster.local.', 'cluster.local'];
  it.each([
    ['web', 5, ['web.shop.svc.cluster.local.', 'web.svc.cluster.local.', 'web.cluster.local.', 'web.']],
    ['a.b', 1, ['a.b.', 'a.b.shop.svc.cluster.local.', 'a.b.svc.cluster.local.', 'a.b.cluster.local.']],
    ['a.b', 2, ['a.b.shop.svc.cluster.local.', 'a.b.svc.cluster.local.', 'a.b.cluster.local.', 'a.b.']],
    ['a.b.', 5, ['a.b.']],
  ])('of %s with ndots %i', (name, ndots, expected) => {
    expect(searchCandidates(name, { searches, ndots })).toEqual(expected);
  });

  it('of a resolver without any', () => {
    expect(searchCandidates('web', { searches: [] })).toEqual(['web.']);
    expect(searchCandidates('web', { searches: ['.'] })).toEqual(['web.']);
  });
});
