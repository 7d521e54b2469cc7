import { parsePrefix, prefixesOverlap, type Prefix } from '@weft/net';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { CidrPool } from '../../src/index.ts';

const parse = (cidr: string): Prefix => parsePrefix(cidr) as Prefix;

describe('CidrPool', () => {
  test('hands out each block once, in order', () => {
    const pool = new CidrPool('10.244.0.0/22', 24);
    const all = [pool.allocate(), pool.allocate(), pool.allocate(), pool.allocate()];
    expect(all).toEqual(['10.244.0.0/24', '10.244.1.0/24', '10.244.2.0/24', '10.244.3.0/24']);
    expect(pool.allocate()).toBeUndefined();
    pool.release('10.244.1.0/24');
    expect(pool.allocate()).toBe('10.244.1.0/24');
  });

  test('does not reuse a block at once while there are others', () => {
    const pool = new CidrPool('10.244.0.0/22', 24);
    const first = pool.allocate() as string;
    pool.release(first);
    expect(pool.allocate()).not.toBe(first);
  });

  test('never doubles, whatever is occupied and released', () => {
    const step = fc.oneof(
      fc.constant({ do: 'allocate' as const, at: 0, size: 28 }),
      fc.record({ do: fc.constant('release' as const), at: fc.nat(15), size: fc.constant(28) }),
      fc.record({ do: fc.constant('occupy' as const), at: fc.nat(15), size: fc.constantFrom(27, 28, 29, 30) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pool = new CidrPool('10.0.0.0/24', 28);
        const held: string[] = [];
        for (const s of steps) {
          if (s.do === 'allocate') {
            const cidr = pool.allocate();
            if (cidr === undefined) {
              expect(pool.free).toBe(0);
              continue;
            }
            for (const other of held) expect(prefixesOverlap(parse(cidr), parse(other))).toBe(false);
            held.push(cidr);
          } else if (s.do === 'occupy') {
            const cidr = `10.0.0.${s.at * 16}/${s.size}`;
            // Two nodes with one block are a mistake that the pool does not have to undo.
            if (held.some((other) => prefixesOverlap(parse(cidr), parse(other)))) continue;
            expect(pool.occupy(cidr)).toBe(true);
            held.push(cidr);
          } else {
            const [cidr] = held.splice(s.at % Math.max(1, held.length), 1);
            if (cidr === undefined) continue;
            pool.release(cidr);
            // What is held inside of a released block is still held.
            for (const other of held) pool.occupy(other);
          }
        }
      }),
    );
  });

  test('blocks of IPv6', () => {
    const pool = new CidrPool('fd00:10:244::/56', 64);
    expect([pool.allocate(), pool.allocate()]).toEqual(['fd00:10:244::/64', 'fd00:10:244:1::/64']);
  });

  test('a foreign CIDR is none of its business', () => {
    expect(new CidrPool('10.244.0.0/16', 24).occupy('192.168.0.0/24')).toBe(false);
  });

  test.each([
    ['10.244.0.0/24', 16, 'NODE_CIDR_MASK_INVALID'],
    ['10.244.0.0/16', 33, 'NODE_CIDR_MASK_INVALID'],
    ['fd00::/32', 64, 'NODE_CIDR_MASK_INVALID'],
    ['10.244.0.0', 24, 'CLUSTER_CIDR_INVALID'],
  ])('%s in blocks of /%i is refused', (cidr, size, code) => {
    expect(() => new CidrPool(cidr, size)).toThrowError(expect.objectContaining({ code }) as Error);
  });
});
