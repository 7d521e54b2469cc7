import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  addQuantities,
  compareQuantities,
  formatQuantity,
  parseQuantity,
  quantityMillis,
  quantityUnits,
} from '../src/index.ts';

const suffix = fc.constantFrom('', 'n', 'u', 'm', 'k', 'M', 'G', 'Ki', 'Mi', 'Gi', 'e3', 'E-2', 'e+1');
const quantity = fc
  .tuple(fc.constantFrom('', '-', '+'), fc.nat(999_999), fc.option(fc.nat(999)), suffix)
  .map(([sign, whole, fraction, s]) => `${sign}${whole}${fraction === null ? '' : `.${fraction}`}${s}`);

describe('quantities', () => {
  it.each([
    ['0', '0'],
    ['-0', '0'],
    ['100m', '100m'],
    ['0.1', '100m'],
    ['1.5', '1500m'],
    ['1000m', '1'],
    ['1000', '1k'],
    ['1024', '1024'],
    ['1Ki', '1Ki'],
    ['1024Ki', '1Mi'],
    ['1.5Gi', '1536Mi'],
    ['0.5Ki', '512'],
    ['1100Ki', '1100Ki'],
    ['12e6', '12e6'],
    ['12E6', '12e6'],
    ['1e3', '1e3'],
    ['1E', '1E'],
    ['.5', '500m'],
    ['5.', '5'],
    ['+3', '3'],
    ['-1500m', '-1500m'],
    ['1n', '1n'],
    ['0.0000000001', '1n'],
    ['1.0000000001', '1000000001n'],
    ['100000Ei', '9223372036854775807'],
  ])('%s is written %s', (text, canonical) => {
    expect(formatQuantity(parseQuantity(text))).toBe(canonical);
  });

  it.each(['', 'x', '1x', '1 Gi', '1KI', '1K', '.', '-', '1e', '1e5Ki', '0x10', '1.2.3', '1e-', '--1'])(
    'refuses "%s"',
    (text) => {
      expect(() => parseQuantity(text)).toThrow(expect.objectContaining({ code: 'QUANTITY_INVALID' }));
    },
  );

  it('is the same amount after writing and reading, and writing is then stable', () => {
    fc.assert(
      fc.property(quantity, (text) => {
        const parsed = parseQuantity(text);
        const written = formatQuantity(parsed);
        const again = parseQuantity(written);
        // A binary amount with a fraction below one unit is rounded up when written, as in Kubernetes.
        if (parsed.format !== 'BinarySI') expect(again.nanos).toBe(parsed.nanos);
        expect(formatQuantity(again)).toBe(written);
      }),
    );
  });

  it('orders like numbers', () => {
    fc.assert(
      fc.property(quantity, quantity, (a, b) => {
        const order = compareQuantities(a, b);
        expect(compareQuantities(b, a)).toBe(order === 0 ? 0 : -order);
        const difference = Number(parseQuantity(a).nanos - parseQuantity(b).nanos);
        expect(Math.sign(difference)).toBe(order);
      }),
    );
    expect(compareQuantities('1Gi', '1G')).toBe(1);
    expect(compareQuantities('1000m', 1)).toBe(0);
  });

  it('rounds up to units and thousandths', () => {
    expect(quantityUnits('1.5')).toBe(2);
    expect(quantityUnits('64Mi')).toBe(67_108_864);
    expect(quantityUnits('-1.5')).toBe(-2);
    expect(quantityMillis('0.1')).toBe(100);
    expect(quantityMillis('100u')).toBe(1);
    expect(formatQuantity(addQuantities(parseQuantity('1Gi'), parseQuantity('512Mi')))).toBe('1536Mi');
  });
});
