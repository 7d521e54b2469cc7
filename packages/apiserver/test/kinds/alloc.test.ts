import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ClusterIpRange } from '../../src/alloc/cluster-ips.ts';
import { NodePortRange } from '../../src/alloc/node-ports.ts';
import { BandedRange } from '../../src/alloc/range.ts';

type Step =
  | { readonly kind: 'next'; readonly owner: string }
  | { readonly kind: 'take'; readonly owner: string; readonly n: number }
  | { readonly kind: 'release'; readonly owner: string; readonly n: number };

const owner = fc.constantFrom('a', 'b', 'c');
const steps = (size: number): fc.Arbitrary<Step[]> => {
  const n = fc.nat(size - 1);
  return fc.array(
    fc.oneof(
      fc.record({ kind: fc.constant('next' as const), owner }),
      fc.record({ kind: fc.constant('take' as const), owner, n }),
      fc.record({ kind: fc.constant('release' as const), owner, n }),
    ),
    { maxLength: 200 },
  );
};

describe('BandedRange', () => {
  it('agrees with a plain map of owners, whatever is asked', () => {
    const cases = fc
      .tuple(fc.integer({ min: 1, max: 40 }), fc.nat(40))
      .chain(([size, reserved]) => fc.tuple(fc.constant(size), fc.constant(reserved % (size + 1)), steps(size)));
    fc.assert(
      fc.property(cases, ([size, reserved, list]) => {
        const range = new BandedRange(size, reserved);
        const model = new Map<number, string>();
        for (const step of list) {
          if (step.kind === 'next') {
            const n = range.next(step.owner);
            if (model.size === size) expect(n).toBeUndefined();
            else {
              expect(model.has(n as number)).toBe(false);
              const upperFull = Array.from({ length: size - reserved }, (_, i) => i + reserved).every((i) =>
                model.has(i),
              );
              expect((n as number) < reserved).toBe(upperFull);
              model.set(n as number, step.owner);
            }
          } else if (step.kind === 'take') {
            const holder = model.get(step.n);
            expect(range.take(step.n, step.owner)).toBe(holder === undefined || holder === step.owner);
            if (holder === undefined) model.set(step.n, step.owner);
          } else {
            range.release(step.n, step.owner);
            if (model.get(step.n) === step.owner) model.delete(step.n);
          }
          expect(range.free).toBe(size - model.size);
        }
        for (const [n, who] of model) expect(range.ownerOf(n)).toBe(who);
      }),
    );
  });

  it('does not give a released number out again while others are free', () => {
    const range = new BandedRange(10, 0);
    const first = range.next('a') as number;
    range.release(first, 'a');
    expect(range.next('b')).not.toBe(first);
  });
});

describe('ClusterIpRange', () => {
  it('takes dynamic addresses from the upper band first, as KEP-3070 asks', () => {
    const range = new ClusterIpRange('10.96.0.0/12');
    // min(max(16, 2^20 / 16), 256) addresses are kept for those who write one by hand.
    expect(range.next('a')).toBe('10.96.1.1');
    expect(range.next('b')).toBe('10.96.1.2');
  });

  it.each([
    ['10.0.0.0/24', '10.0.0.17'],
    ['10.0.0.0/28', '10.0.0.1'],
    ['10.0.0.0/20', '10.0.1.1'],
    ['fd00:10:96::/112', 'fd00:10:96::101'],
    ['fd00::/64', 'fd00::101'],
  ])('first dynamic address of %s is %s', (cidr, address) => {
    expect(new ClusterIpRange(cidr).next('a')).toBe(address);
  });

  it('hands out every address but network and broadcast exactly once, then none', () => {
    const range = new ClusterIpRange('192.168.4.0/26');
    const seen = new Set<string>();
    for (let ip = range.next('a'); ip !== undefined; ip = range.next('a')) {
      expect(seen.has(ip)).toBe(false);
      seen.add(ip);
    }
    expect(seen.size).toBe(62);
    expect(seen.has('192.168.4.0')).toBe(false);
    expect(seen.has('192.168.4.63')).toBe(false);
    range.release('192.168.4.7', 'a');
    expect(range.next('b')).toBe('192.168.4.7');
  });

  it('says why in the words of Kubernetes', () => {
    const range = new ClusterIpRange('10.96.0.0/12');
    expect(range.take('10.96.0.10', 'a')).toBeUndefined();
    expect(range.take('10.96.0.10', 'a')).toBeUndefined();
    expect(range.take('10.96.0.10', 'b')?.message).toBe('provided IP is already allocated');
    for (const outside of ['10.95.0.1', '10.96.0.0', '10.111.255.255', 'fd00::1']) {
      expect(range.take(outside, 'a')?.message).toBe(
        `the provided IP (${outside}) is not in the valid range. The range of valid IPs is 10.96.0.0/12`,
      );
    }
  });

  it('ignores a release by somebody who does not hold the address', () => {
    const range = new ClusterIpRange('10.96.0.0/24');
    range.take('10.96.0.5', 'a');
    range.release('10.96.0.5', 'b');
    expect(range.take('10.96.0.5', 'b')).toBeDefined();
  });

  it('refuses a range that is none', () => {
    for (const bad of ['10.96.0.0', 'x/8', '10.96.0.0/31']) {
      expect(() => new ClusterIpRange(bad)).toThrow(/Service CIDR/);
    }
  });
});

describe('NodePortRange', () => {
  it('keeps the lower band for those who write a port (KEP-3668)', () => {
    const range = new NodePortRange([30000, 32767]);
    expect(range.next('a')).toBe(30086);
    expect(range.take(30000, 'b')).toBeUndefined();
    expect(range.take(30000, 'c')).toBe('provided port is already allocated');
    expect(range.take(80, 'c')).toBe(
      'provided port is not in the valid range. The range of valid ports is 30000-32767',
    );
  });

  it('uses the lower band when nothing else is left, then nothing', () => {
    const range = new NodePortRange([1000, 1099]);
    const all = Array.from({ length: 100 }, () => range.next('a') as number);
    expect(new Set(all).size).toBe(100);
    expect(all[0]).toBe(1016);
    expect(all.at(-1)).toBe(1015);
    expect(range.next('a')).toBeUndefined();
  });

  it('refuses a range that is none', () => {
    for (const bad of [
      [0, 5],
      [5, 4],
      [1, 70000],
    ] as [number, number][]) {
      expect(() => new NodePortRange(bad)).toThrow(/range of ports/);
    }
  });
});
