import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { packAddress, packPort } from '../src/model/packed.ts';
import { adoptBackends, emptyBackends, updateBackends } from '../src/nftables/backends.ts';
import { Changes } from '../src/nftables/changes.ts';
import { roundedSize } from '../src/nftables/classes.ts';
import { denseUpdate } from '../src/nftables/dense.ts';
import { mergeBlocks } from '../src/nftables/encode.ts';
import { IdPool } from '../src/nftables/ids.ts';
import { className, idOf, packClass, packSlot, parseClassName, slotOf, tableComment } from '../src/nftables/layout.ts';
import { familyConfigs } from '../src/options.ts';
import { CONFIG, prefix } from './support/harness.ts';

const endpoint = (i: number): string => (packAddress(`10.0.${i >> 8}.${i & 255}`) ?? '') + packPort(80);

describe('dense lists', () => {
  const lists = fc.array(fc.integer({ min: 0, max: 12 }), { maxLength: 12 });

  it('hold exactly the target, repeats included', () => {
    fc.assert(
      fc.property(lists, lists, (list, target) => {
        const order = (a: number, b: number): number => a - b;
        expect([...denseUpdate(list, target)].sort(order)).toEqual([...target].sort(order));
      }),
    );
  });

  it('move no more than they must', () => {
    const unique = fc.uniqueArray(fc.integer({ min: 0, max: 30 }), { maxLength: 12 });
    fc.assert(
      fc.property(unique, unique, (list, target) => {
        const next = denseUpdate(list, target);
        const leaving = list.filter((item) => !target.includes(item)).length;
        const rewritten = next.filter((item, i) => i < list.length && list[i] !== item).length;
        expect(rewritten).toBeLessThanOrEqual(leaving);
      }),
    );
  });

  it('replace in place', () => {
    expect(denseUpdate(['a', 'b', 'c'], ['a', 'x', 'c'])).toEqual(['a', 'x', 'c']);
    expect(denseUpdate(['a', 'b', 'c', 'd'], ['a', 'c', 'd'])).toEqual(['a', 'd', 'c']);
  });
});

describe('values', () => {
  it('keep class, slot and id apart', () => {
    expect(idOf(packClass(0x7ff, 0xfffff))).toBe(0xfffff);
    expect(packClass(0x7ff, 0xfffff)).toBeLessThan(2 ** 31);
    expect(packSlot(1, 5)).toBeGreaterThanOrEqual(2 ** 31);
    expect([slotOf(packSlot(0x7ff, 5)), idOf(packSlot(0x7ff, 5))]).toEqual([0x7ff, 5]);
  });

  it('name classes so that they can be read back', () => {
    expect(parseClassName(className('e', 12, 10800))).toEqual({ kind: 'e', endpoints: 12, affinity: 10800 });
    expect(parseClassName(className('c', 5, 0))).toEqual({ kind: 'c', endpoints: 5, affinity: 0 });
    for (const name of ['n-5', 'c-0', 'c-5-a', 'services', 'c-5-a0']) expect(parseClassName(name)).toBeUndefined();
  });
});

describe('ids', () => {
  it('rest for a second', () => {
    const pool = new IdPool();
    expect([pool.take(0), pool.take(0)]).toEqual([1, 2]);
    pool.give(1, 100);
    expect(pool.take(500)).toBe(3);
    expect(pool.take(1100)).toBe(1);
  });

  it('go on above what an earlier agent used, and fill its gaps', () => {
    const pool = new IdPool();
    pool.reserve([7, 3]);
    expect(pool.take(0)).toBe(8);
    pool.giveGaps(new Set([3, 7, 8]), 0);
    expect([pool.take(1000), pool.take(1000), pool.take(1000)]).toEqual([1, 2, 4]);
  });
});

describe('slots of sticky Services', () => {
  const targets = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 20 }), { minLength: 1, maxLength: 8 }), {
    maxLength: 20,
  });

  it('stay with their endpoint as long as it lives', () => {
    fc.assert(
      fc.property(targets, (steps) => {
        const set = emptyBackends(1, true);
        let before = new Map<string, number>();
        for (const step of steps) {
          updateBackends(set, step.map(endpoint).join(''), 6, (n) => n, new Changes(4));
          const now = new Map((set.sticky?.slots ?? []).map((slot, i) => [set.list.slice(i * 6, i * 6 + 6), slot]));
          for (const [e, slot] of now) if (before.has(e)) expect(slot).toBe(before.get(e));
          expect(new Set(now.values()).size).toBe(now.size);
          before = now;
        }
      }),
    );
  });

  it('are taken over from the kernel only when they are whole', () => {
    const ends = new Map([
      [1, endpoint(1)],
      [4, endpoint(2)],
    ]);
    expect(adoptBackends(9, undefined, [4, 1], ends)).toEqual({
      id: 9,
      list: endpoint(2) + endpoint(1),
      sticky: { slots: [4, 1], next: 5, freed: [2, 3] },
    });
    expect(adoptBackends(9, undefined, [4, 2], ends)).toBeUndefined();
    expect(adoptBackends(9, undefined, [4], ends)).toBeUndefined();
    expect(adoptBackends(9, [endpoint(1)], [4, 1], ends)).toBeUndefined();
    expect(adoptBackends(9, [endpoint(1), undefined, endpoint(2)], undefined, undefined)).toBeUndefined();
  });

  it('are reused when all are in use and one leaves', () => {
    const set = emptyBackends(1, true);
    const all = Array.from({ length: 2047 }, (_, i) => endpoint(i));
    updateBackends(set, all.join(''), 6, (n) => n, new Changes(4));
    const changes = new Changes(4);
    updateBackends(set, [...all.slice(1), endpoint(5000)].join(''), 6, (n) => n, changes);
    expect(changes.sets['slot-endpoints'].replaced.count).toBe(1);
    expect(changes.sets['slot-endpoints'].removed.count).toBe(0);
    expect(new Set(set.sticky?.slots).size).toBe(2047);
  });
});

describe('crowded classes', () => {
  it('are shared by sizes that differ little', () => {
    expect([1, 16, 17, 33, 100, 1000, 100_000].map(roundedSize)).toEqual([1, 16, 17, 34, 100, 1024, 102_400]);
    for (let n = 1; n < 5000; n++) expect(roundedSize(n) - n).toBeLessThanOrEqual(n / 16);
  });

  it('repeat endpoints to fill the size', () => {
    const set = emptyBackends(1, false);
    updateBackends(set, endpoint(1) + endpoint(2) + endpoint(3), 6, () => 5, new Changes(4));
    expect(set.list).toBe([1, 2, 3, 1, 2].map(endpoint).join(''));
  });
});

describe('blocks', () => {
  it('are merged, since the kernel refuses overlaps', () => {
    const merged = mergeBlocks(
      ['10.0.0.0/8', '10.1.0.0/16', '192.168.0.0/24', '192.168.1.0/24', '10.0.0.0/8'].map(prefix),
    );
    expect(merged.map(({ first, last }) => `${first.join('.')}-${last.join('.')}`)).toEqual([
      '10.0.0.0-10.255.255.255',
      '192.168.0.0-192.168.0.255',
      '192.168.1.0-192.168.1.255',
    ]);
  });
});

describe('configuration', () => {
  const options = { clusterCidrs: ['10.244.0.0/16'], serviceCidrs: ['10.96.0.0/16'] };

  it('is part of the table: another one means another comment', () => {
    const [a] = familyConfigs(options);
    const [b] = familyConfigs({ ...options, masqueradeAll: true });
    const [c] = familyConfigs({ ...options, clusterCidrs: ['10.245.0.0/16'] });
    const comments = [a, b, c].map((config) => tableComment(config ?? CONFIG));
    expect(new Set(comments).size).toBe(3);
    expect(tableComment(familyConfigs(options)[0] ?? CONFIG)).toBe(comments[0]);
  });

  it('names the field at fault', () => {
    expect(() => familyConfigs({ ...options, serviceCidrs: ['10.96.0.0'] })).toThrow(
      /serviceCidrs: "10.96.0.0" is not a CIDR/,
    );
    expect(() => familyConfigs({ ...options, nodePortAddresses: ['localhost'] })).toThrow(/nodePortAddresses/);
  });

  it('serves the families its blocks speak of', () => {
    const both = familyConfigs({ clusterCidrs: ['10.244.0.0/16', 'fd00::/64'], serviceCidrs: ['10.96.0.0/16'] });
    expect(both.map((config) => [config.family, config.detector.by, config.serviceCidrs.length])).toEqual([
      [4, 'cidr', 1],
      [6, 'cidr', 0],
    ]);
  });
});
