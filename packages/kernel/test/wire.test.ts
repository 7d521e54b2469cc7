import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { messages, NlReader, NlWriter } from '../src/netlink/wire.ts';
import { message } from './codec.ts';

const text = fc.string({ unit: 'binary', maxLength: 40 }).filter((s) => !s.includes('\0'));
const type = fc.integer({ min: 1, max: 0x3fff });
const attribute = fc.oneof(
  fc.record({ kind: fc.constant('u8' as const), type, value: fc.nat(0xff) }),
  fc.record({ kind: fc.constant('u16' as const), type, value: fc.nat(0xffff) }),
  fc.record({ kind: fc.constant('u16be' as const), type, value: fc.nat(0xffff) }),
  fc.record({ kind: fc.constant('u32' as const), type, value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('u32be' as const), type, value: fc.nat(0xffffffff) }),
  fc.record({ kind: fc.constant('u64be' as const), type, value: fc.bigInt(0n, 2n ** 64n - 1n) }),
  fc.record({ kind: fc.constant('str' as const), type, value: text }),
  fc.record({ kind: fc.constant('data' as const), type, value: fc.uint8Array({ maxLength: 40 }) }),
);
type Attribute = typeof attribute extends fc.Arbitrary<infer T> ? T : never;

function put(w: NlWriter, a: Attribute): void {
  switch (a.kind) {
    case 'u64be':
      return w.u64be(a.type, a.value);
    case 'str':
      return w.str(a.type, a.value);
    case 'data':
      return w.data(a.type, a.value);
    default:
      return w[a.kind](a.type, a.value);
  }
}

function read(r: NlReader, a: Attribute): unknown {
  return r[a.kind]();
}

describe('netlink messages', () => {
  test('every attribute is read back as it was written', () => {
    fc.assert(
      fc.property(fc.array(attribute, { maxLength: 30 }), fc.array(attribute, { maxLength: 10 }), (list, inner) => {
        const m = message((w) => {
          for (const a of list) put(w, a);
          const mark = w.nest(7);
          for (const a of inner) put(w, a);
          w.endNest(mark);
        });
        const r = new NlReader(m.bytes, m.start, m.end);
        for (const a of list) {
          expect(r.next()).toBe(true);
          expect(r.type).toBe(a.type);
          expect(read(r, a)).toEqual(a.value);
        }
        expect(r.next()).toBe(true);
        expect(r.type).toBe(7);
        const nested = r.nested();
        for (const a of inner) {
          expect(nested.next()).toBe(true);
          expect(read(nested, a)).toEqual(a.value);
        }
        expect(nested.next()).toBe(false);
        expect(r.next()).toBe(false);
      }),
    );
  });

  test('messages and attributes start on 4-byte borders, padding is zero', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 9 }), { minLength: 1, maxLength: 5 }), (parts) => {
        const w = new NlWriter(8);
        // What an earlier message left behind must not show in the padding.
        w.bytes.fill(0xff);
        for (const part of parts) {
          w.begin(1, 0);
          w.data(2, part);
          w.end();
        }
        const got = [...messages(w.bytes, w.pos)];
        expect(got.map((m) => m.start % 4)).toEqual(parts.map(() => 0));
        got.forEach((m, i) => {
          const length = parts[i]?.length ?? 0;
          expect([...m.bytes.subarray(m.start + 4 + length, m.end)].every((b) => b === 0)).toBe(true);
        });
      }),
    );
  });

  test('bytes that are no messages end the walk, they never throw', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        for (const m of messages(bytes, bytes.length)) {
          const r = new NlReader(bytes, m.start, m.end);
          while (r.next()) expect(r.end).toBeLessThanOrEqual(bytes.length);
        }
      }),
    );
  });

  test('a message can be taken back, a nest cannot outgrow its length field', () => {
    const w = new NlWriter();
    w.begin(1, 0);
    w.end();
    const before = w.pos;
    w.begin(2, 0);
    w.u32(1, 1);
    w.drop();
    expect([w.pos, w.starts.length]).toEqual([before, 1]);
    w.begin(3, 0);
    const mark = w.nest(1);
    w.data(1, new Uint8Array(40_000));
    w.data(2, new Uint8Array(40_000));
    expect(() => w.endNest(mark)).toThrow(RangeError);
  });
});
