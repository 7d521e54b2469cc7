import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packAddress, type Packed } from '../src/model/packed.ts';
import { RefSet } from '../src/nftables/refset.ts';

const address = fc.oneof(
  fc.integer({ min: 0, max: 30 }).map((n) => packAddress(`10.0.0.${n}`) as Packed),
  fc.integer({ min: 0, max: 5 }).map((n) => packAddress(`255.0.${n}.0`) as Packed),
  fc.integer({ min: 0, max: 5 }).map((n) => packAddress(`fd00::${n}`) as Packed),
);
const step = fc.oneof(
  fc.record({ do: fc.constantFrom('add' as const, 'release' as const), member: address }),
  fc.record({ do: fc.constant('finish' as const), member: address }),
);

describe('RefSet', () => {
  it('tells the kernel of exactly the members that are needed, whatever comes and goes between', () => {
    fc.assert(
      fc.property(fc.array(address), fc.array(step, { maxLength: 400 }), (found, steps) => {
        const set = new RefSet();
        set.adopt(new Set(found));
        const kernel = new Set(found);
        const counts = new Map<Packed, number>();
        const finish = (adopted: boolean): void =>
          set.finish(
            adopted,
            (m) => {
              expect(kernel.has(m)).toBe(false);
              kernel.add(m);
            },
            (m) => expect(kernel.delete(m)).toBe(true),
          );
        for (const { do: what, member } of steps) {
          const count = counts.get(member) ?? 0;
          if (what === 'add') {
            set.add(member);
            counts.set(member, count + 1);
          } else if (what === 'finish') finish(false);
          else if (count > 0) {
            set.release(member);
            if (count === 1) counts.delete(member);
            else counts.set(member, count - 1);
          }
          expect(set.size).toBe(counts.size);
          expect(set.has(member)).toBe(counts.has(member));
        }
        finish(true);
        expect([...kernel].sort()).toEqual([...counts.keys()].sort());
      }),
    );
  });

  it('holds thousands', () => {
    const set = new RefSet();
    const all = Array.from({ length: 5000 }, (_, i) => packAddress(`10.1.${i >> 8}.${i & 0xff}`) as Packed);
    for (const member of all) set.add(member);
    for (const member of all.slice(0, 4000)) set.release(member);
    for (const member of all.slice(0, 2000)) set.add(member);
    expect(set.size).toBe(3000);
    expect(all.filter((member) => set.has(member))).toEqual([...all.slice(0, 2000), ...all.slice(4000)]);
  });
});
