import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { decodeRecord, encodeRecord, type LogRecord, scanRecords } from '../../src/store/record.ts';

const record: fc.Arbitrary<LogRecord> = fc.record({
  op: fc.constantFrom('put', 'delete', 'mark'),
  rv: fc.maxSafeNat(),
  key: fc.string({ unit: 'grapheme', maxLength: 40 }),
  json: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
});

describe('log records', () => {
  it('decode to what was encoded, wherever they stand', () => {
    fc.assert(
      fc.property(fc.array(record, { maxLength: 20 }), (records) => {
        const data = Buffer.concat(records.map(encodeRecord));
        const seen: LogRecord[] = [];
        const result = scanRecords(data, 0, (r) => seen.push({ ...r, json: Buffer.from(r.json) }));
        expect(seen).toEqual(records);
        expect(result).toEqual({ end: data.length, torn: false, damaged: false });
      }),
    );
  });

  it('give up the last record, and no other, when the tail is cut off', () => {
    fc.assert(
      fc.property(fc.array(record, { minLength: 1, maxLength: 8 }), fc.nat(), (records, cut) => {
        const encoded = records.map(encodeRecord);
        const last = encoded.at(-1) as Buffer;
        const whole = Buffer.concat(encoded);
        const data = whole.subarray(0, whole.length - 1 - (cut % (last.length - 1)));
        let count = 0;
        const result = scanRecords(data, 0, () => count++);
        expect(count).toBe(records.length - 1);
        expect(result).toEqual({ end: whole.length - last.length, torn: true, damaged: false });
      }),
    );
  });

  it('notice any changed bit of a record with another one behind it', () => {
    fc.assert(
      fc.property(record, record, fc.nat(), fc.integer({ min: 0, max: 7 }), (first, second, at, bit) => {
        const a = encodeRecord(first);
        const data = Buffer.concat([a, encodeRecord(second)]);
        // Not in the length: a wrong length looks like a torn tail, because nothing is found behind it.
        const index = 4 + (at % (a.length - 4));
        data.writeUInt8(data.readUInt8(index) ^ (1 << bit), index);
        let count = 0;
        const result = scanRecords(data, 0, () => count++);
        expect(count).toBe(0);
        expect(result).toEqual({ end: 0, torn: true, damaged: true });
      }),
    );
  });

  it('refuse a key that its length field cannot hold', () => {
    expect(() => encodeRecord({ op: 'put', rv: 1, key: 'x'.repeat(70_000), json: Buffer.alloc(0) })).toThrow(
      /too long/,
    );
  });

  it('do not read past the end for a length that is garbage', () => {
    const data = Buffer.alloc(64, 0xff);
    expect(decodeRecord(data, 0)).toEqual({ kind: 'bad', next: undefined });
  });
});
