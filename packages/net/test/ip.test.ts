import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isIP } from 'node:net';
import {
  addressAt,
  addToIp,
  compareIp,
  formatIp,
  formatPrefix,
  indexIn,
  ipDistance,
  ipFromBytes,
  lastAddress,
  parseInterfaceAddress,
  parseIp,
  parsePrefix,
  type Prefix,
  prefixContains,
  prefixesOverlap,
  prefixOf,
  prefixSize,
  subnetAt,
  subnetCount,
} from '../src/index.ts';

const ip4 = fc.uint8Array({ minLength: 4, maxLength: 4 }).map(ipFromBytes);
const ip6 = fc
  .tuple(fc.uint8Array({ minLength: 16, maxLength: 16 }), fc.uint8Array({ minLength: 16, maxLength: 16 }))
  // Runs of zero bytes make the interesting texts.
  .map(([bytes, mask]) => ipFromBytes(bytes.map((b, i) => ((mask[i] as number) & 1 ? b : 0))));
const ip = fc.oneof(ip4, ip6);
const prefix = ip.chain((a) => fc.integer({ min: 0, max: a.bytes.length * 8 }).map((length) => prefixOf(a, length)));

describe('addresses', () => {
  it('read what they print', () => {
    fc.assert(
      fc.property(ip, (a) => {
        expect(parseIp(formatIp(a))).toEqual(a);
      }),
    );
  });

  it('print what Node accepts', () => {
    fc.assert(
      fc.property(ip, (a) => {
        expect(isIP(formatIp(a))).toBe(a.family);
      }),
    );
  });

  it('agree with Node about arbitrary text', () => {
    const text = fc.stringMatching(/^[0-9a-f:.]{1,24}$/);
    fc.assert(
      fc.property(text, (t) => {
        expect(parseIp(t)?.family ?? 0).toBe(isIP(t));
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ['2001:db8:0:0:1:0:0:1', '2001:db8::1:0:0:1'],
    ['::', '::'],
    ['::ffff:10.0.0.1', '::ffff:10.0.0.1'],
    ['2001:DB8::A', '2001:db8::a'],
    ['2001:db8:0:1:1:1:1:1', '2001:db8:0:1:1:1:1:1'],
  ])('prints %s as %s (RFC 5952)', (text, canonical) => {
    const parsed = parseIp(text);
    expect(parsed && formatIp(parsed)).toBe(canonical);
  });

  it.each([
    '',
    '1.2.3',
    '1.2.3.4.5',
    '256.0.0.1',
    '01.2.3.4',
    '1.2.3.4 ',
    ':::',
    '1::2::3',
    '12345::',
    '::1%eth0',
    '1.2.3.4/8',
  ])('refuses %j', (text) => {
    expect(parseIp(text)).toBeUndefined();
  });

  it('move by an offset and back', () => {
    fc.assert(
      fc.property(ip4, fc.integer({ min: -1000, max: 1000 }), (a, offset) => {
        const target = ipDistance(ipFromBytes(new Uint8Array(4)), a) + BigInt(offset);
        if (target < 0n || target > 0xffffffffn) expect(() => addToIp(a, offset)).toThrow(RangeError);
        else {
          const b = addToIp(a, offset);
          expect(ipDistance(a, b)).toBe(BigInt(offset));
          expect(addToIp(b, -offset)).toEqual(a);
          expect(Math.sign(compareIp(b, a))).toBe(Math.sign(offset) + 0);
        }
      }),
    );
  });
});

describe('prefixes', () => {
  it('read what they print', () => {
    fc.assert(
      fc.property(prefix, (p) => {
        expect(parsePrefix(formatPrefix(p))).toEqual(p);
      }),
    );
  });

  it('contain exactly the addresses between the first and the last', () => {
    fc.assert(
      fc.property(prefix, ip, (p, a) => {
        const inside = a.family === p.ip.family && compareIp(p.ip, a) <= 0 && compareIp(a, lastAddress(p)) <= 0;
        expect(prefixContains(p, a)).toBe(inside);
      }),
    );
  });

  it('overlap when one contains the other', () => {
    fc.assert(
      fc.property(prefix, prefix, (a, b) => {
        expect(prefixesOverlap(a, b)).toBe(prefixContains(a, b.ip) || prefixContains(b, a.ip));
        expect(prefixesOverlap(a, b)).toBe(prefixesOverlap(b, a));
      }),
    );
  });

  it('number their addresses', () => {
    const p = parsePrefix('10.244.3.0/24') as Prefix;
    expect(formatIp(addressAt(p, 7))).toBe('10.244.3.7');
    expect(indexIn(p, addressAt(p, 200))).toBe(200n);
    expect(prefixSize(p)).toBe(256n);
    expect(() => addressAt(p, 256)).toThrow(RangeError);
    expect(() => addressAt(p, -1)).toThrow(RangeError);
  });

  it('are cut into equal blocks that do not overlap and fill them', () => {
    const p = parsePrefix('10.244.0.0/16') as Prefix;
    expect(subnetCount(p, 24)).toBe(256n);
    expect(formatPrefix(subnetAt(p, 24, 255))).toBe('10.244.255.0/24');
    expect(() => subnetAt(p, 24, 256)).toThrow(RangeError);
    expect(subnetCount(p, 8)).toBe(0n);
  });

  it('keep the host part of an interface address', () => {
    expect(parseInterfaceAddress('10.0.0.7/24')).toEqual({ ip: parseIp('10.0.0.7'), length: 24 });
    for (const bad of ['10.0.0.7', '10.0.0.7/33', '10.0.0.7/024', '10.0.0.7/-1', '10.0.0/8'])
      expect(parseInterfaceAddress(bad)).toBeUndefined();
  });
});
