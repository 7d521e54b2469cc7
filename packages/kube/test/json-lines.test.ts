import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonLines } from '../src/index.ts';

function read(chunks: readonly Buffer[]): unknown[] {
  const out: unknown[] = [];
  const lines = new JsonLines((value) => out.push(value));
  for (const chunk of chunks) lines.push(chunk);
  lines.end();
  return out;
}

describe('JsonLines', () => {
  it('gives the same values wherever the stream is cut', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(fc.string({ unit: 'grapheme' }), fc.integer(), fc.record({ a: fc.string({ unit: 'binary' }) })),
          {
            maxLength: 6,
          },
        ),
        fc.array(fc.nat(120), { maxLength: 8 }),
        fc.boolean(),
        (values, cuts, lastNewline) => {
          const text = values.map((v) => JSON.stringify(v)).join('\n') + (lastNewline ? '\n' : '');
          const bytes = Buffer.from(text);
          const places = [0, ...cuts.filter((n) => n <= bytes.length).sort((a, b) => a - b), bytes.length];
          const chunks = places.slice(1).map((end, i) => bytes.subarray(places[i], end));
          expect(read(chunks)).toEqual(JSON.parse(JSON.stringify(values)));
        },
      ),
    );
  });

  it('skips empty lines', () => {
    expect(read([Buffer.from('\n1\n\n'), Buffer.from('\n2\n')])).toEqual([1, 2]);
  });

  it('refuses what is not JSON and lines without end', () => {
    expect(() => read([Buffer.from('{"a":\n')])).toThrow(expect.objectContaining({ code: 'WATCH_STREAM_BROKEN' }));
    const lines = new JsonLines(() => {}, 10);
    lines.push(Buffer.from('"123456'));
    expect(() => lines.push(Buffer.from('789012'))).toThrow('a line is longer than 10 bytes');
  });
});
