import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeClass, decodeFilter, decodeQdisc, encodeClass, encodeFilter, encodeQdisc } from '../src/tc/encode.ts';
import { formatHandle, parseHandle } from '../src/tc/handle.ts';
import { ticksOfBytes } from '../src/tc/psched.ts';
import { index, some, u16, u32 } from './arbitraries.ts';
import { message } from './codec.ts';

const handle = fc
  .tuple(fc.integer({ min: 1, max: 0xfffe }), fc.integer({ min: 1, max: 0xfffe }))
  .map(([major, minor]) => `${major.toString(16)}:${minor.toString(16)}`);
const rate = fc.integer({ min: 1, max: 100_000_000_000 });

test('handles', () => {
  fc.assert(
    fc.property(u32, (n) => {
      expect(parseHandle(formatHandle(n))).toBe(n);
    }),
  );
  expect(parseHandle('1:')).toBe(0x10000);
  for (const bad of ['', '1', ':1', '1:30:2', '12345:', 'g:']) expect(() => parseHandle(bad)).toThrow(/tc handle/);
});

test('qdiscs', () => {
  fc.assert(
    fc.property(index, rate, u32, u32, u16, (i, speed, burst, limit, defaultClass) => {
      const tbf = decodeQdisc(
        message((w) => encodeQdisc(w, { index: i, kind: 'tbf', tbf: { rate: speed, burst, limit } })),
      );
      expect(tbf).toMatchObject({ index: i, parent: 'root', kind: 'tbf', tbf: { rate: speed, limit } });
      expect(tbf.tbf?.buffer).toBe(ticksOfBytes(burst, speed));
      const htb = { index: i, parent: '2:1', handle: '1:', kind: 'htb', htb: { defaultClass } };
      expect(decodeQdisc(message((w) => encodeQdisc(w, htb)))).toEqual(htb);
    }),
  );
});

test('classes', () => {
  fc.assert(
    fc.property(index, handle, rate, rate, (i, id, speed, ceil) => {
      const spec = { index: i, parent: '1:', handle: id, kind: 'htb', htb: { rate: speed, ceil } } as const;
      expect(decodeClass(message((w) => encodeClass(w, spec)))).toMatchObject(spec);
    }),
  );
});

test('filters', () => {
  const key = fc.record({ value: u32, mask: u32, offset: fc.nat(64).map((n) => n * 4) });
  const common = some({ classId: handle, redirect: index });
  fc.assert(
    fc.property(
      index,
      fc.integer({ min: 1, max: 0xffff }),
      fc.array(key, { minLength: 1, maxLength: 8 }),
      common,
      (i, priority, keys, rest) => {
        const u = { index: i, parent: 'ffff:', priority, kind: 'u32', keys, ...rest } as const;
        expect(decodeFilter(message((w) => encodeFilter(w, { ...u, protocol: 'ip' })))).toEqual({
          ...u,
          protocol: 0x800,
        });
        const m = { index: i, parent: '1:', priority, kind: 'matchall', ...rest } as const;
        expect(decodeFilter(message((w) => encodeFilter(w, { ...m, protocol: 'ipv6' })))).toEqual({
          ...m,
          protocol: 0x86dd,
        });
      },
    ),
  );
});

test('the time of a burst never wraps around', () => {
  fc.assert(
    fc.property(u32, rate, (bytes, speed) => {
      const ticks = ticksOfBytes(bytes, speed);
      expect(ticks).toBeGreaterThanOrEqual(0);
      expect(ticks).toBeLessThanOrEqual(0xffffffff);
      expect(ticks).toBeGreaterThanOrEqual(ticksOfBytes(Math.floor(bytes / 2), speed));
    }),
  );
});
